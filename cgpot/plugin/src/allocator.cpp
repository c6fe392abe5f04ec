// SPDX-License-Identifier: GPL-2.0-or-later
#include "allocator.h"

#include "pages.h"

#include <c10/core/CPUAllocator.h>

#include <cstddef>
#include <cstdlib>
#include <mutex>
#include <unordered_map>
#include <vector>

namespace cgpot {

namespace {

constexpr std::size_t smallest = 1 << 17;    // bytes; malloc keeps less than this itself
constexpr long unused_for = 16;              // evaluations after which a block is given back

struct Block {
  void *data = nullptr;
  std::size_t bytes = 0;
  long used = 0;    // evaluation in which it was taken last
};

// Sizes change a little from step to step: eight to each power of two.
std::size_t rounded(std::size_t bytes)
{
  std::size_t step = smallest / 8;
  while (step * 16 < bytes) step *= 2;
  return (bytes + step - 1) / step * step;
}

class Keeper final : public c10::Allocator {
 public:
  c10::DataPtr allocate(std::size_t bytes) override
  {
    if (bytes < smallest) return c10::GetDefaultCPUAllocator()->allocate(bytes);
    const std::size_t size = rounded(bytes);
    Block *block = nullptr;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      auto &blocks = free_[size];
      if (!blocks.empty()) {
        block = blocks.back();
        blocks.pop_back();
      }
    }
    if (!block) block = new Block{allocate_pages(size), size, 0};
    block->used = evaluation_;
    return {block->data, block, &give_back, c10::Device(c10::DeviceType::CPU)};
  }

  void copy_data(void *to, const void *from, std::size_t count) const override
  {
    default_copy_data(to, from, count);
  }

  void begin() { ++evaluation_; }

  void end()
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (auto &entry : free_)
      std::erase_if(entry.second, [this](Block *block) {
        if (block->used + unused_for > evaluation_) return false;
        std::free(block->data);
        delete block;
        return true;
      });
  }

 private:
  static void give_back(void *context);

  std::mutex mutex_;
  std::unordered_map<std::size_t, std::vector<Block *>> free_;    // by size
  long evaluation_ = 0;
};

// lives as long as the process: tensors may outlive any model
Keeper &keeper()
{
  static Keeper *const one = new Keeper;
  return *one;
}

void Keeper::give_back(void *context)
{
  auto *block = static_cast<Block *>(context);
  Keeper &all = keeper();
  const std::lock_guard<std::mutex> lock(all.mutex_);
  all.free_[block->bytes].push_back(block);
}

}    // namespace

KeptMemory::KeptMemory() : before_(c10::GetCPUAllocator())
{
  keeper().begin();
  c10::SetCPUAllocator(&keeper());
}

KeptMemory::~KeptMemory()
{
  c10::SetCPUAllocator(before_);
  keeper().end();
}

}    // namespace cgpot
