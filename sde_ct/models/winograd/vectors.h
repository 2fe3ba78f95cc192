// Vectors of channels, as wide as the processor's registers, and buffers made of them.
#pragma once

#include <cstdint>
#include <new>

namespace sde_ct {

#if defined(__AVX512F__)
constexpr int kLanes = 16;
constexpr int kRows = 8;  // tiles, or channels, that a matrix product handles at once
#elif defined(__AVX__)
constexpr int kLanes = 8;
constexpr int kRows = 4;
#else
constexpr int kLanes = 4;
constexpr int kRows = 4;
#endif
constexpr int kPoints = 36;  // numbers of a transformed tile
constexpr int kBlock = 32;   // tiles per piece of work, whose intermediate results fit into a cache

typedef float Vec __attribute__((vector_size(kLanes * sizeof(float))));
typedef float Loose __attribute__((vector_size(kLanes * sizeof(float)), aligned(4)));

inline Vec load(const float* p) { return *reinterpret_cast<const Loose*>(p); }
inline void store(float* p, Vec v) { *reinterpret_cast<Loose*>(p) = v; }
inline Vec& at(float* p) { return *reinterpret_cast<Vec*>(p); }  // where p is aligned
inline const Vec& at(const float* p) { return *reinterpret_cast<const Vec*>(p); }

// Memory that a thread keeps between calls, because new pages would cost more than the work.
inline float* scratch(int slot, int64_t floats) {
  constexpr std::align_val_t kPage{4096};
  struct Kept {
    float* data = nullptr;
    int64_t size = 0;
    ~Kept() { operator delete[](data, kPage); }
  };
  thread_local Kept kept[3];
  Kept& own = kept[slot];
  if (own.size < floats) {
    operator delete[](own.data, kPage);
    own.data = new (kPage) float[floats];
    own.size = floats;
  }
  return own.data;
}

// Transformed tiles: [kPoints][channels / kLanes][tiles][kLanes]. The points lie kLanes floats
// further apart than needed. Otherwise the 36 numbers of a tile would share one set of the cache.
struct Points {
  float* data;
  int64_t point, block;  // floats from one point, or one block of channels, to the next
  Points(int slot, int64_t tiles, int64_t channels)
      : point(tiles * channels + kLanes), block(tiles * kLanes) {
    data = scratch(slot, kPoints * point);
  }
  float* at(int64_t p, int64_t b, int64_t tile) const {
    return data + p * point + b * block + tile * kLanes;
  }
};

// Images in NHWC, cut into tiles of 4 x 4 pixels.
struct Image {
  int64_t batch, height, width, channels;
  int64_t down() const { return (height + 3) / 4; }
  int64_t across() const { return (width + 3) / 4; }
  int64_t tiles() const { return batch * down() * across(); }
};

struct Tile {
  int64_t image, row, column;  // of its first pixel
  Tile(const Image& size, int64_t index)
      : image(index / (size.down() * size.across())),
        row(index / size.across() % size.down() * 4),
        column(index % size.across() * 4) {}
};

}  // namespace sde_ct
