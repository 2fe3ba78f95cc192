// Conversion between images and transformed tiles.
#pragma once

#include "transforms.h"

namespace sde_ct {

// Transforms the 4 x 4 pixels of a tile, and one more on each side, to points. Pixels outside the
// image are 0. With `grow`, `x` has half the height and width of `size`, and its pixels are
// repeated 2 x 2.
inline void gather(const float* x, const Image& size, bool grow, int64_t index, const Points& to,
                   int64_t slot) {
  Tile tile(size, index);
  int64_t step = grow ? 2 : 1, h = size.height / step, w = size.width / step, c = size.channels;
  const float* rows[6];
  int64_t columns[6];
  for (int r = 0; r < 6; r++) {
    int64_t i = tile.row + r - 1, j = tile.column + r - 1;
    rows[r] = i < 0 || i >= size.height ? nullptr : x + (tile.image * h + i / step) * w * c;
    columns[r] = j < 0 || j >= size.width ? -1 : j / step * c;
  }
  for (int64_t b = 0; b < c / kLanes; b++) {
    Vec pixels[6][6], points[6][6];
    for (int r = 0; r < 6; r++)
      for (int s = 0; s < 6; s++) {
        bool inside = rows[r] && columns[s] >= 0;
        pixels[r][s] = inside ? load(rows[r] + columns[s] + b * kLanes) : Vec{};
      }
    both_axes(input_transform, pixels, points);
    for (int p = 0; p < kPoints; p++) at(to.at(p, b, slot)) = points[p / 6][p % 6];
  }
}

// Transforms points to the 4 x 4 pixels of a tile. With `shrink`, `y` has half the height and width
// of `size`, and each pixel is the sum of four.
inline void scatter(const Points& from, int64_t slot, float* y, const Image& size, bool shrink,
                    int64_t index) {
  Tile tile(size, index);
  int64_t step = shrink ? 2 : 1, h = size.height / step, w = size.width / step, c = size.channels;
  for (int64_t b = 0; b < c / kLanes; b++) {
    Vec points[6][6], pixels[4][4];
    for (int p = 0; p < kPoints; p++) points[p / 6][p % 6] = at(from.at(p, b, slot));
    both_axes(output_transform, points, pixels);
    for (int r = 0; r < 4 && tile.row + r < size.height; r += step)
      for (int s = 0; s < 4 && tile.column + s < size.width; s += step) {
        int64_t i = (tile.row + r) / step, j = (tile.column + s) / step;
        Vec sum = pixels[r][s];
        if (shrink) sum += pixels[r][s + 1] + pixels[r + 1][s] + pixels[r + 1][s + 1];
        store(y + ((tile.image * h + i) * w + j) * c + b * kLanes, sum);
      }
  }
}

// Transforms the 4 x 4 pixels of a gradient's tile to points: the transpose of `scatter`.
inline void gather_gradient(const float* y, const Image& size, int64_t index, const Points& to,
                            int64_t slot) {
  Tile tile(size, index);
  int64_t h = size.height, w = size.width, c = size.channels;
  for (int64_t b = 0; b < c / kLanes; b++) {
    Vec pixels[4][4], points[6][6];
    for (int r = 0; r < 4; r++)
      for (int s = 0; s < 4; s++) {
        int64_t i = tile.row + r, j = tile.column + s;
        const float* from = y + ((tile.image * h + i) * w + j) * c + b * kLanes;
        pixels[r][s] = i < h && j < w ? load(from) : Vec{};
      }
    both_axes(output_transposed, pixels, points);
    for (int p = 0; p < kPoints; p++) at(to.at(p, b, slot)) = points[p / 6][p % 6];
  }
}

}  // namespace sde_ct
