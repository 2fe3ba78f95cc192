// 3 x 3 convolutions of NHWC images and their gradients by Winograd's F(4 x 4, 3 x 3) (Lavin & Gray
// 2016, arXiv 1509.09308). A tile of 4 x 4 pixels takes 36 products per pair of channels instead of
// 144. Intermediate results stay in the caches.

#include "products.h"
#include "threads.h"
#include "tiles.h"

namespace sde_ct {

using ThreadPool = xla::ffi::ThreadPool;
using Floats = xla::ffi::Buffer<xla::ffi::F32>;
using Result = xla::ffi::ResultBuffer<xla::ffi::F32>;
using xla::ffi::Error;

// The size of the image that is convolved.
static Image image(xla::ffi::Span<const int64_t> dims, bool grow) {
  return {dims[0], dims[1] * (grow ? 2 : 1), dims[2] * (grow ? 2 : 1), dims[3]};
}

// The number of floats from one point of a transformed kernel to the next; see `Points`.
static int64_t kernel_point(int64_t in, int64_t out) { return in * out + kLanes; }

// Transforms w, [3][3][in][out], to points [kPoints][pairs of blocks of out channels][in]
// [2 * kLanes]. For the gradient of the input, `transposed`, w is [3][3][out][in] and is rotated by
// 180 degrees.
static void transform_kernel(ThreadPool& pool, const float* w, int64_t in, int64_t out,
                             bool transposed, float* to) {
  int64_t blocks = out / kLanes, point = kernel_point(in, out);
  parallel_for(pool, in, [=](int64_t c) {
    for (int64_t b = 0; b < blocks; b++) {
      Vec taps[3][3], points[6][6];
      for (int t = 0; t < 9; t++) {
        Vec& tap = taps[t / 3][t % 3];
        if (transposed) {
          const float* from = w + ((8 - t) * out + b * kLanes) * in + c;
          for (int l = 0; l < kLanes; l++) tap[l] = from[l * in];
        } else {
          tap = load(w + (t * in + c) * out + b * kLanes);
        }
      }
      both_axes(weight_transform, taps, points);
      bool alone = b % 2 == 0 && b + 1 == blocks;
      float* line = to + ((b / 2 * 2) * in + c * (alone ? 1 : 2) + b % 2) * kLanes;
      for (int p = 0; p < kPoints; p++) at(line + p * point) = points[p / 6][p % 6];
    }
  });
}

// y = x * w. `grow` first repeats the pixels of x 2 x 2; `shrink` finally sums 2 x 2 pixels of y.
static Error convolve(ThreadPool pool, Floats x, Floats w, Result y, bool transposed, bool grow,
                      bool shrink) {
  Image in = image(x.dimensions(), grow), out = in;
  out.channels = w.dimensions()[transposed ? 2 : 3];
  int64_t tiles = in.tiles(), point = kernel_point(in.channels, out.channels);
  float* kernel = scratch(0, kPoints * point);
  transform_kernel(pool, w.typed_data(), in.channels, out.channels, transposed, kernel);
  const float* from = x.typed_data();
  float* to = y->typed_data();
  parallel_for(pool, (tiles + kBlock - 1) / kBlock, [=](int64_t piece) {
    int64_t first = piece * kBlock, count = std::min<int64_t>(kBlock, tiles - first);
    Points v(1, kBlock, in.channels), m(2, kBlock, out.channels);
    for (int64_t t = 0; t < count; t++) gather(from, in, grow, first + t, v, t);
    for (int64_t p = 0; p < kPoints; p++)
      for (int64_t b = 0; b < out.channels / kLanes; b += 2) {
        auto product = b + 1 < out.channels / kLanes ? multiply<2> : multiply<1>;
        const float* u = kernel + p * point + b * kLanes * in.channels;
        for (int64_t t = 0; t < count; t += kRows)
          product(v.at(p, 0, t), v.block, u, in.channels, m.at(p, b, t), m.block);
      }
    for (int64_t t = 0; t < count; t++) scatter(m, t, to, out, shrink, first + t);
  });
  return Error::Success();
}

// Transforms the points of the kernel's gradient, [kPoints][in][out], to w, [3][3][in][out].
static void transform_gradient(ThreadPool& pool, const float* sums, int64_t in, int64_t out,
                               float* w) {
  int64_t point = kernel_point(in, out);
  parallel_for(pool, in, [=](int64_t c) {
    for (int64_t b = 0; b < out / kLanes; b++) {
      Vec points[6][6], taps[3][3];
      for (int p = 0; p < kPoints; p++)
        points[p / 6][p % 6] = at(sums + p * point + c * out + b * kLanes);
      both_axes(weight_transposed, points, taps);
      for (int t = 0; t < 9; t++) store(w + (t * in + c) * out + b * kLanes, taps[t / 3][t % 3]);
    }
  });
}

// The gradient of w, from x and the gradient of y. `grow` repeats the pixels of x 2 x 2 first.
static Error kernel_gradient(ThreadPool pool, Floats x, Floats dy, Result dw, bool grow) {
  Image in = image(x.dimensions(), grow), out = image(dy.dimensions(), false);
  constexpr int64_t kKept = int64_t{3} << 20;  // floats of transformed tiles, 12 MB of the cache
  int64_t most = kKept / (kPoints * (in.channels + out.channels)) / kBlock * kBlock;
  int64_t tiles = in.tiles(), chunk = std::min(tiles, std::max<int64_t>(kBlock, most));
  int64_t point = kernel_point(in.channels, out.channels);
  float* sums = scratch(0, kPoints * point);
  Points v(1, chunk, in.channels), m(2, chunk, out.channels);
  const float *images = x.typed_data(), *gradients = dy.typed_data();
  for (int64_t first = 0; first < tiles; first += chunk) {
    int64_t count = std::min(chunk, tiles - first);
    parallel_for(pool, count, [=](int64_t t) {
      gather(images, in, grow, first + t, v, t);
      gather_gradient(gradients, out, first + t, m, t);
    });
    parallel_for(pool, kPoints, [=](int64_t p) {
      for (int64_t b = 0; b < out.channels / kLanes; b += 2) {
        auto product = b + 1 < out.channels / kLanes ? correlate<2> : correlate<1>;
        for (int64_t c = 0; c < in.channels; c += kRows)
          product(v.at(p, c / kLanes, 0) + c % kLanes, m.at(p, b, 0), m.block, count,
                  sums + p * point + c * out.channels + b * kLanes, out.channels, first == 0);
      }
    });
  }
  transform_gradient(pool, sums, in.channels, out.channels, dw->typed_data());
  return Error::Success();
}

}  // namespace sde_ct

XLA_FFI_DEFINE_HANDLER_SYMBOL(Convolve, sde_ct::convolve,
                              xla::ffi::Ffi::Bind()
                                  .Ctx<xla::ffi::ThreadPool>()
                                  .Arg<sde_ct::Floats>()
                                  .Arg<sde_ct::Floats>()
                                  .Ret<sde_ct::Floats>()
                                  .Attr<bool>("transposed")
                                  .Attr<bool>("grow")
                                  .Attr<bool>("shrink"));

XLA_FFI_DEFINE_HANDLER_SYMBOL(KernelGradient, sde_ct::kernel_gradient,
                              xla::ffi::Ffi::Bind()
                                  .Ctx<xla::ffi::ThreadPool>()
                                  .Arg<sde_ct::Floats>()
                                  .Arg<sde_ct::Floats>()
                                  .Ret<sde_ct::Floats>()
                                  .Attr<bool>("grow"));
