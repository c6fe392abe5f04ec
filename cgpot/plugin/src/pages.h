// SPDX-License-Identifier: GPL-2.0-or-later
// Memory of large arrays, in large pages where the system has them: arrays of millions of edges are
// read at random, and each small page costs an entry of its own. No LAMMPS and no torch types here.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <limits>
#include <new>
#include <utility>
#include <vector>

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace cgpot {

// Uninitialised memory, for std::free(); throws std::bad_alloc.
inline void *allocate_pages(std::size_t bytes)
{
  constexpr std::size_t line = 64, page = 1 << 21, least = 2 * page;
  const std::size_t unit = bytes >= least ? page : line;
  if (bytes > std::numeric_limits<std::size_t>::max() - unit) throw std::bad_alloc();
  const std::size_t length = (bytes + unit - 1) / unit * unit;
  void *data = std::aligned_alloc(unit, length > 0 ? length : unit);
  if (!data) throw std::bad_alloc();
#ifdef MADV_HUGEPAGE
  if (bytes >= least) madvise(data, length, MADV_HUGEPAGE);    // advice: may be refused
#endif
  return data;
}

template <typename T> struct PageAllocator {
  using value_type = T;

  PageAllocator() = default;
  template <typename U> PageAllocator(const PageAllocator<U> &) {}

  T *allocate(std::size_t n)
  {
    if (n > std::numeric_limits<std::size_t>::max() / sizeof(T)) throw std::bad_alloc();
    return static_cast<T *>(allocate_pages(n * sizeof(T)));
  }
  void deallocate(T *data, std::size_t) { std::free(data); }

  // growing does not fill
  template <typename U> void construct(U *at) { ::new (static_cast<void *>(at)) U; }
  template <typename U, typename... Arguments> void construct(U *at, Arguments &&...arguments)
  {
    ::new (static_cast<void *>(at)) U(std::forward<Arguments>(arguments)...);
  }

  template <typename U> bool operator==(const PageAllocator<U> &) const { return true; }
};

// Elements that are added by resize() have any value.
template <typename T> using Pages = std::vector<T, PageAllocator<T>>;

}    // namespace cgpot
