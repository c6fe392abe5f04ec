// SPDX-License-Identifier: GPL-2.0-or-later
// Points sorted into cells, to find those near one of them. No LAMMPS and no torch types here.
#pragma once

#include "edges.h"
#include "pages.h"

#include <cstddef>
#include <vector>

namespace cgpot {

class Cells {
 public:
  // Sorts points into cells (larger ones where the points are sparse). x: (count, 3); labels:
  // (count) of any meaning, points with negative ones are left out; range: positive. Not a number
  // counts as the lower corner.
  void sort(const double *x, const int *labels, int count, double range);

  // Writes the indices of all points but `point` itself that are closer than the range to it (in
  // single precision: and some that are hardly further), and their labels, from position `length`
  // on, and returns the position after them. Both grow as needed and are not cut.
  std::size_t near(int point, Pages<int> &found, Pages<int> &labels, std::size_t length);

  std::size_t bytes() const;

 private:
  double rangesq_ = 0.0;            // with room for the rounding of positions
  double low_[3] = {}, side_[3] = {}, inverse_[3] = {};
  int cells_[3] = {1, 1, 1};
  int span_[3] = {1, 1, 1};         // cells on either side that may hold near points
  std::vector<int> cell_;           // (count) cell of a point, -1 for one left out
  std::vector<int> start_;          // (cells + 1) first of its points among the sorted ones
  std::vector<int> points_;         // (points) sorted
  std::vector<int> labels_;         // (points) theirs
  std::vector<float> sorted_;       // (3, points) their positions from the lower corner
  std::vector<Row> rows_;           // of one point, while its neighbours are found
  const double *x_ = nullptr;
};

}    // namespace cgpot
