// SPDX-License-Identifier: GPL-2.0-or-later
#include "cells.h"

#include "edges.h"

#include <algorithm>
#include <cmath>

namespace cgpot {

namespace {

constexpr double most_cells_per_point = 4.0;

// Cells within the range along each axis. Those of a row along x follow each other, are looked at
// together, several points at a time, and only where they are near: few rows are better than few
// points.
constexpr double cells_in_range[3] = {4.0, 1.0, 1.0};

int clamped(double value, int count)
{
  // written so that not a number gives 0, and that nothing branches
  const double last = count - 1, positive = value > 0.0 ? value : 0.0;
  return static_cast<int>(positive < last ? positive : last);
}

}    // namespace

void Cells::sort(const double *x, const int *labels, int count, double range)
{
  x_ = x;
  const auto n = static_cast<std::size_t>(count);
  double high[3];
  for (int k = 0; k < 3; ++k) low_[k] = high[k] = count ? x[k] : 0.0;
  for (std::size_t i = 0; i < n; ++i)
    for (int k = 0; k < 3; ++k) {
      low_[k] = std::min(low_[k], x[3 * i + static_cast<std::size_t>(k)]);
      high[k] = std::max(high[k], x[3 * i + static_cast<std::size_t>(k)]);
    }
  double extent = 0.0;
  for (int k = 0; k < 3; ++k) extent = std::max(extent, high[k] - low_[k]);
  const double reach = range + 1e-6 * (extent + range);
  rangesq_ = reach * reach;
  const double most = std::max(27.0, most_cells_per_point * count);
  double wanted[3], all = 1.0;
  for (int k = 0; k < 3; ++k) {
    wanted[k] = std::max(1.0, std::floor(cells_in_range[k] * (high[k] - low_[k]) / range));
    all *= wanted[k];
  }
  const double fewer = all > most ? std::cbrt(most / all) : 1.0;
  std::size_t total = 1;
  for (int k = 0; k < 3; ++k) {
    cells_[k] = 1 + clamped(std::min(wanted[k] * fewer, most) - 1.0, static_cast<int>(most));
    side_[k] = (high[k] - low_[k]) / cells_[k];
    inverse_[k] = side_[k] > 0.0 ? 1.0 / side_[k] : 0.0;
    span_[k] = 1 + clamped(side_[k] > 0.0 ? reach / side_[k] : 0.0, cells_[k]);
    total *= static_cast<std::size_t>(cells_[k]);
  }

  cell_.resize(n);
  start_.assign(total + 1, 0);
  for (std::size_t i = 0; i < n; ++i) {
    cell_[i] = -1;
    if (labels[i] < 0) continue;
    int c[3];
    for (std::size_t k = 0; k < 3; ++k)
      c[k] = clamped((x[3 * i + k] - low_[k]) * inverse_[k], cells_[k]);
    cell_[i] = (c[2] * cells_[1] + c[1]) * cells_[0] + c[0];
    ++start_[static_cast<std::size_t>(cell_[i]) + 1];
  }
  for (std::size_t c = 0; c < total; ++c) start_[c + 1] += start_[c];
  const auto kept = static_cast<std::size_t>(start_.back());
  points_.resize(kept);
  labels_.resize(kept);
  sorted_.resize(3 * kept);
  for (std::size_t i = n; i-- > 0;) {    // backwards: `start_` ends as the first of each cell
    if (cell_[i] < 0) continue;
    const auto at = static_cast<std::size_t>(--start_[static_cast<std::size_t>(cell_[i]) + 1]);
    points_[at] = static_cast<int>(i);
    labels_[at] = labels[i];
    for (std::size_t k = 0; k < 3; ++k)
      sorted_[k * kept + at] = static_cast<float>(x[3 * i + k] - low_[k]);
  }
  // entry c + 1 now holds the first point of cell c
  start_.erase(start_.begin());
  start_.push_back(static_cast<int>(kept));
}

std::size_t Cells::near(int point, Pages<int> &found, Pages<int> &labels, std::size_t length)
{
  const double rangesq = 1.000001 * rangesq_;
  const double *own = x_ + 3 * static_cast<std::size_t>(point);
  int first[3], last[3];    // of y and z
  for (int k = 1; k < 3; ++k) {
    const int c = clamped((own[k] - low_[k]) * inverse_[k], cells_[k]);
    first[k] = std::max(0, c - span_[k]);
    last[k] = std::min(cells_[k] - 1, c + span_[k]);
  }
  const auto beyond = [&](int k, int cell) {
    const double lower = low_[k] + cell * side_[k];
    return std::max({0.0, lower - own[k], own[k] - lower - side_[k]});
  };
  rows_.clear();
  std::size_t most = length + spare;
  for (int cz = first[2]; cz <= last[2]; ++cz) {
    const double dz = beyond(2, cz);
    for (int cy = first[1]; cy <= last[1]; ++cy) {
      const double dy = beyond(1, cy);
      const double rest = rangesq - dy * dy - dz * dz;
      if (rest < 0.0) continue;
      const int *row = start_.data() +
          (static_cast<std::size_t>(cz) * static_cast<std::size_t>(cells_[1]) +
           static_cast<std::size_t>(cy)) *
              static_cast<std::size_t>(cells_[0]);
      const double dx = std::sqrt(rest), from_low = own[0] - low_[0];
      const auto begin =
          static_cast<std::size_t>(row[clamped((from_low - dx) * inverse_[0], cells_[0])]);
      const auto end =
          static_cast<std::size_t>(row[clamped((from_low + dx) * inverse_[0], cells_[0]) + 1]);
      if (begin == end) continue;
      rows_.push_back({begin, end});
      most += end - begin;
    }
  }
  if (found.size() < most) found.resize(2 * most);
  if (labels.size() < most) labels.resize(2 * most);
  const std::size_t n = points_.size();
  const float *x = sorted_.data();
  const float at[3] = {static_cast<float>(own[0] - low_[0]), static_cast<float>(own[1] - low_[1]),
                       static_cast<float>(own[2] - low_[2])};
  const PointRows points{x, x + n, x + 2 * n, points_.data(), labels_.data()};
  return length +
      pair_loops().near(points, rows_.data(), rows_.size(), at, static_cast<float>(rangesq_), point,
                        found.data() + length, labels.data() + length);
}

std::size_t Cells::bytes() const
{
  return (cell_.capacity() + start_.capacity() + points_.capacity() + labels_.capacity()) *
      sizeof(int) +
      sorted_.capacity() * sizeof(float) + rows_.capacity() * sizeof(Row);
}

}    // namespace cgpot
