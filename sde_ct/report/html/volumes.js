"use strict";
// Decodes the volumes of voxel_encoding.py: base64, deflate, byte planes, folded differences.

const bytesOf = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
const pixelsOf = (text) => new Uint32Array(bytesOf(text).buffer);
const decoded = new Map(); // each volume is decoded once

function volume(text, count) {
  if (!decoded.has(text)) decoded.set(text, decode(text, count));
  return decoded.get(text);
}

async function decode(text, count) {
  const stream = new Blob([bytesOf(text)]).stream().pipeThrough(new DecompressionStream("deflate"));
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
