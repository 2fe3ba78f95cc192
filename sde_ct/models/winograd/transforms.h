// The transforms of F(4 x 4, 3 x 3) with the points 0, 1, -1, 2, -2 and infinity. Each function
// transforms one axis; matrices have their names in Lavin & Gray.
#pragma once

#include "vectors.h"

namespace sde_ct {

// B^T d along one axis.
inline void input_transform(const Vec* d, Vec* v) {
  Vec a = d[4] - 4.0f * d[2], b = d[3] - 4.0f * d[1];
  Vec c = d[4] - d[2], e = 2.0f * (d[3] - d[1]);
  v[0] = 4.0f * d[0] - 5.0f * d[2] + d[4];
  v[1] = a + b;
  v[2] = a - b;
  v[3] = c + e;
  v[4] = c - e;
  v[5] = 4.0f * d[1] - 5.0f * d[3] + d[5];
}

// G g along one axis.
inline void weight_transform(const Vec* g, Vec* u) {
  Vec even = g[0] + g[2];
  u[0] = 0.25f * g[0];
  u[1] = (-1.0f / 6) * (even + g[1]);
  u[2] = (-1.0f / 6) * (even - g[1]);
  Vec wide = (1.0f / 24) * g[0] + (1.0f / 6) * g[2], odd = (1.0f / 12) * g[1];
  u[3] = wide + odd;
  u[4] = wide - odd;
  u[5] = g[2];
}

// A^T m along one axis.
inline void output_transform(const Vec* m, Vec* y) {
  Vec a = m[1] + m[2], b = m[1] - m[2], c = m[3] + m[4], d = m[3] - m[4];
  y[0] = m[0] + a + c;
  y[1] = b + 2.0f * d;
  y[2] = a + 4.0f * c;
  y[3] = b + 8.0f * d + m[5];
}

// A y along one axis: the transpose of `output_transform`.
inline void output_transposed(const Vec* y, Vec* m) {
  Vec a = y[0] + y[2], b = y[1] + y[3];
  Vec c = y[0] + 4.0f * y[2], d = 2.0f * y[1] + 8.0f * y[3];
  m[0] = y[0];
  m[1] = a + b;
  m[2] = a - b;
  m[3] = c + d;
  m[4] = c - d;
  m[5] = y[3];
}

// G^T u along one axis: the transpose of `weight_transform`.
inline void weight_transposed(const Vec* u, Vec* g) {
  Vec a = (-1.0f / 6) * (u[1] + u[2]), b = u[3] + u[4];
  g[0] = 0.25f * u[0] + a + (1.0f / 24) * b;
  g[1] = (1.0f / 6) * (u[2] - u[1]) + (1.0f / 12) * (u[3] - u[4]);
  g[2] = a + (1.0f / 6) * b + u[5];
}

// Applies a transform to the columns and then to the rows.
template <int I, int O>
inline void both_axes(void (*transform)(const Vec*, Vec*), const Vec (&from)[I][I],
                      Vec (&to)[O][O]) {
  Vec half[I][O];  // [column][point of the rows]
  for (int s = 0; s < I; s++) {
    Vec column[I];
    for (int r = 0; r < I; r++) column[r] = from[r][s];
    transform(column, half[s]);
  }
  for (int p = 0; p < O; p++) {
    Vec row[I];
    for (int s = 0; s < I; s++) row[s] = half[s][p];
    transform(row, to[p]);
  }
}

}  // namespace sde_ct
