// Loops spread over XLA's threads.
#pragma once

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>

#include "xla/ffi/api/ffi.h"

namespace sde_ct {

// Runs work(i) for every i in [0, count) and returns when all are done. The calling thread works,
// too, and waits only for pieces that other threads have begun, so a busy pool cannot block it.
template <typename Work>
void parallel_for(xla::ffi::ThreadPool& pool, int64_t count, const Work& work) {
  struct Shared {
    std::atomic<int64_t> next{0};
    int64_t done = 0;
    std::mutex mutex;
    std::condition_variable all;
  };
  auto shared = std::make_shared<Shared>();
  // A pointer to `work` is enough: it is used only inside a piece, and all pieces are waited for.
  auto take = [shared, count, borrowed = &work] {
    int64_t mine = 0;
    for (int64_t i; (i = shared->next.fetch_add(1)) < count; mine++) (*borrowed)(i);
    if (mine == 0) return;
    std::lock_guard<std::mutex> lock(shared->mutex);
    shared->done += mine;
    if (shared->done == count) shared->all.notify_all();
  };
  int64_t helpers = std::min<int64_t>(pool.num_threads(), count) - 1;
  for (int64_t i = 0; i < helpers; i++) pool.Schedule(decltype(take)(take));
  take();
  std::unique_lock<std::mutex> lock(shared->mutex);
  shared->all.wait(lock, [&] { return shared->done == count; });
}

}  // namespace sde_ct
