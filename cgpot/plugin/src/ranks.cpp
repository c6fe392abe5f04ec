// SPDX-License-Identifier: GPL-2.0-or-later
#include "ranks.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <type_traits>
#include <utility>

namespace cgpot {

namespace {

// The rank of this process among those on its machine, as launchers tell it; -1 without one.
int launcher_rank()
{
  for (const char *name :
       {"MPI_LOCALRANKID", "PMI_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_RANK", "SLURM_LOCALID",
        "MV2_COMM_WORLD_LOCAL_RANK", "PALS_LOCAL_RANKID", "FLUX_TASK_LOCAL_ID"}) {
    const char *value = std::getenv(name);
    if (!value) continue;
    char *end = nullptr;
    const long rank = std::strtol(value, &end, 10);
    if (end != value && *end == 0 && rank >= 0) return static_cast<int>(rank);
  }
  return -1;
}

}    // namespace

int device_of(const Place &place, int devices)
{
  if (place.worlds == 1) return place.shared % devices;
  const int told = launcher_rank();
  return (told >= 0 ? told : place.universe) % devices;
}

RankExchanger::RankExchanger(std::function<void(int)> forward, std::function<void(int)> reverse,
                             int capacity) :
    forward_(std::move(forward)), reverse_(std::move(reverse)), capacity_(capacity)
{
}

void RankExchanger::begin(const std::vector<int> &node_of, const std::vector<int> &atoms, int owned)
{
  node_of_ = &node_of;
  atoms_ = &atoms;
  owned_ = owned;
}

int RankExchanger::doubles() const
{
  return static_cast<int>((static_cast<std::size_t>(columns_) * item_ + sizeof(double) - 1) /
                          sizeof(double));
}

template <typename T> T *RankExchanger::row(int atom) const
{
  const int node = (*node_of_)[static_cast<std::size_t>(atom)];
  if (node < 0) return nullptr;
  return static_cast<T *>(rows_) + static_cast<std::size_t>(node) * static_cast<std::size_t>(width_) +
      first_;
}

template <typename T> void RankExchanger::run(T *rows, std::int64_t nodes, int width, bool reverse)
{
  rows_ = rows;
  item_ = sizeof(T);
  width_ = width;
  const int most = capacity_ * static_cast<int>(sizeof(double) / sizeof(T));
  for (first_ = 0; first_ < width; first_ += most) {
    columns_ = std::min(most, width - first_);
    (reverse ? reverse_ : forward_)(doubles());
  }
  if (reverse)
    std::fill(rows + static_cast<std::int64_t>(owned_) * width, rows + nodes * width, T(0));
  rows_ = nullptr;
}

void RankExchanger::forward(double *rows, std::int64_t nodes, int width)
{
  run(rows, nodes, width, false);
}
void RankExchanger::forward(float *rows, std::int64_t nodes, int width)
{
  run(rows, nodes, width, false);
}
void RankExchanger::reverse(double *rows, std::int64_t nodes, int width)
{
  run(rows, nodes, width, true);
}
void RankExchanger::reverse(float *rows, std::int64_t nodes, int width)
{
  run(rows, nodes, width, true);
}

// Atoms without a node (NULL in pair_style hybrid) send zeros and take nothing.

int RankExchanger::pack_forward(int n, const int *list, double *buffer) const
{
  const int step = doubles();
  const std::size_t bytes = static_cast<std::size_t>(columns_) * item_;
  for (int k = 0; k < n; ++k) {
    double *target = buffer + static_cast<std::size_t>(k) * static_cast<std::size_t>(step);
    const void *source = item_ == sizeof(float) ? static_cast<const void *>(row<float>(list[k]))
                                                : static_cast<const void *>(row<double>(list[k]));
    if (source)
      std::memcpy(target, source, bytes);
    else
      std::memset(target, 0, bytes);
  }
  return n * step;
}

void RankExchanger::unpack_forward(int n, int first, const double *buffer)
{
  const int step = doubles();
  const std::size_t bytes = static_cast<std::size_t>(columns_) * item_;
  for (int k = 0; k < n; ++k) {
    void *target = item_ == sizeof(float) ? static_cast<void *>(row<float>(first + k))
                                          : static_cast<void *>(row<double>(first + k));
    if (target)
      std::memcpy(target, buffer + static_cast<std::size_t>(k) * static_cast<std::size_t>(step), bytes);
  }
}

int RankExchanger::pack_reverse(int n, int first, double *buffer) const
{
  const int step = doubles();
  const std::size_t bytes = static_cast<std::size_t>(columns_) * item_;
  for (int k = 0; k < n; ++k) {
    double *target = buffer + static_cast<std::size_t>(k) * static_cast<std::size_t>(step);
    const void *source = item_ == sizeof(float) ? static_cast<const void *>(row<float>(first + k))
                                                : static_cast<const void *>(row<double>(first + k));
    const int node = (*node_of_)[static_cast<std::size_t>(first + k)];
    if (source && (*atoms_)[static_cast<std::size_t>(node)] == first + k)
      std::memcpy(target, source, bytes);
    else
      std::memset(target, 0, bytes);
  }
  return n * step;
}

void RankExchanger::unpack_reverse(int n, const int *list, const double *buffer)
{
  const int step = doubles();
  const auto add = [&](auto *zero) {
    using T = std::remove_pointer_t<decltype(zero)>;
    for (int k = 0; k < n; ++k) {
      T *target = row<T>(list[k]);
      if (!target) continue;
      const T *source = reinterpret_cast<const T *>(buffer + static_cast<std::size_t>(k) *
                                                        static_cast<std::size_t>(step));
      for (int c = 0; c < columns_; ++c) target[c] += source[c];
    }
  };
  if (item_ == sizeof(float))
    add(static_cast<float *>(nullptr));
  else
    add(static_cast<double *>(nullptr));
}

}    // namespace cgpot
