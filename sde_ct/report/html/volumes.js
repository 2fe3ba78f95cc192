"use strict";
// Undoes voxel_encoding.py: base64, deflate, byte planes, folded steps. A volume is decoded once.

const decoded = new Map();

function volume(text, count) {
  if (!decoded.has(text)) decoded.set(text, decode(text, count));
  return decoded.get(text);
}

async function decode(text, count) {
  const packed = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
  const voxels = new Int16Array(count);
  let value = 0;
  for (let i = 0; i < count; i++) {
    const folded = bytes[i] | (bytes[count + i] << 8);
    value += (folded >>> 1) ^ -(folded & 1);
    voxels[i] = value; // modulo 2^16
  }
  return voxels;
}

function lookup(text) {
  return Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
}
