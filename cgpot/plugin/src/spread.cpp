// SPDX-License-Identifier: GPL-2.0-or-later
#include "spread.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <stdexcept>

namespace cgpot {

namespace {

double deviation(const std::vector<double> &values)
{
  double mean = 0.0, sum = 0.0;
  for (const double v : values) mean += v;
  mean /= static_cast<double>(values.size());
  for (const double v : values) sum += (v - mean) * (v - mean);
  return std::sqrt(sum / static_cast<double>(values.size() - 1));
}

}    // namespace

void Spread::begin(int nodes)
{
  nodes_ = static_cast<std::size_t>(nodes);
  forces_.clear();
  energies_.clear();
  traces_.clear();
}

void Spread::add(const double *forces, std::size_t stride, double energy, double trace)
{
  for (std::size_t i = 0; i < nodes_; ++i)
    forces_.insert(forces_.end(), forces + i * stride, forces + i * stride + 3);
  energies_.push_back(energy);
  traces_.push_back(trace);
}

void Spread::finish(const Sum &sum)
{
  const std::size_t members = energies_.size();
  if (members < 2) throw std::logic_error("the spread of fewer than two members");
  const std::size_t stride = 3 * nodes_;
  const double k = static_cast<double>(members);
  beads.assign(nodes_, 0.0);
  largest = -1.0;
  largest_node = -1;
  double total = 0.0;
  for (std::size_t i = 0; i < nodes_; ++i) {
    double square = 0.0;
    for (std::size_t c = 3 * i; c < 3 * i + 3; ++c) {
      double mean = 0.0;
      for (std::size_t m = 0; m < members; ++m) mean += forces_[m * stride + c];
      mean /= k;
      for (std::size_t m = 0; m < members; ++m) {
        const double d = forces_[m * stride + c] - mean;
        square += d * d;
      }
    }
    square /= k - 1.0;
    total += square;
    beads[i] = std::sqrt(square);
    // written so that the first NaN counts as the largest
    if (!std::isnan(largest) && !(beads[i] <= largest)) {
      largest = beads[i];
      largest_node = static_cast<int>(i);
    }
  }
  std::vector<double> sums{total, static_cast<double>(nodes_)};
  sums.insert(sums.end(), energies_.begin(), energies_.end());
  sums.insert(sums.end(), traces_.begin(), traces_.end());
  sum(sums.data(), static_cast<int>(sums.size()));
  const double all = std::max(sums[1], 1.0);
  const auto first = sums.begin() + 2;
  std::copy(first, first + static_cast<std::ptrdiff_t>(members), energies_.begin());
  std::copy(first + static_cast<std::ptrdiff_t>(members), sums.end(), traces_.begin());
  for (double &value : energies_) value /= all;
  rms = std::sqrt(sums[0] / all);
  energy = deviation(energies_);
  trace = deviation(traces_);
}

std::size_t Spread::bytes() const
{
  return (beads.capacity() + forces_.capacity() + energies_.capacity() + traces_.capacity()) *
      sizeof(double);
}

}    // namespace cgpot
