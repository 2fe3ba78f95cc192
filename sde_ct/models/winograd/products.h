// The products at each point: kRows x N vectors of sums are held in registers.
#pragma once

#include "vectors.h"

namespace sde_ct {

// m[tile] = sum over channels c of v[tile][c] * u[c]: kRows tiles, N blocks of out channels.
// `u` is [channels][N * kLanes]; `v` and `m` are rows of `Points`.
template <int N>
inline void multiply(const float* v, int64_t v_block, const float* u, int64_t channels, float* m,
                     int64_t m_block) {
  Vec sums[kRows][N] = {};
  for (int64_t b = 0; b < channels / kLanes; b++, v += v_block)
    for (int l = 0; l < kLanes; l++, u += N * kLanes)
#pragma GCC unroll 8
      for (int r = 0; r < kRows; r++)
#pragma GCC unroll 2
        for (int k = 0; k < N; k++) sums[r][k] += v[r * kLanes + l] * at(u + k * kLanes);
  for (int r = 0; r < kRows; r++)
    for (int k = 0; k < N; k++) at(m + k * m_block + r * kLanes) = sums[r][k];
}

// to[c] += sum over tiles of v[tile][c] * m[tile]: kRows channels c, N blocks of out channels.
// `to` has rows of `stride` floats, and is overwritten where `fresh`.
template <int N>
inline void correlate(const float* v, const float* m, int64_t m_block, int64_t tiles, float* to,
                      int64_t stride, bool fresh) {
  Vec sums[kRows][N] = {};
  for (int64_t t = 0; t < tiles; t++, v += kLanes, m += kLanes)
#pragma GCC unroll 8
    for (int r = 0; r < kRows; r++)
#pragma GCC unroll 2
      for (int k = 0; k < N; k++) sums[r][k] += v[r] * at(m + k * m_block);
  for (int r = 0; r < kRows; r++)
    for (int k = 0; k < N; k++) {
      Vec& sum = at(to + r * stride + k * kLanes);
      sum = fresh ? sums[r][k] : sum + sums[r][k];
    }
}

}  // namespace sde_ct
