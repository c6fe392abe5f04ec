// SPDX-License-Identifier: GPL-2.0-or-later
// Memory of large tensors, kept from one evaluation of a model to the next: the system would give
// it anew each time, page by page.
#pragma once

#include <c10/core/Allocator.h>

namespace cgpot {

// While it lives, torch's tensors on the CPU take their memory from it. One at a time.
class KeptMemory {
 public:
  KeptMemory();
  ~KeptMemory();    // gives back what the last evaluations did not use
  KeptMemory(const KeptMemory &) = delete;
  KeptMemory &operator=(const KeptMemory &) = delete;

 private:
  c10::Allocator *before_;
};

}    // namespace cgpot
