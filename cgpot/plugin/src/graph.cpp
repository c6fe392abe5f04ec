// SPDX-License-Identifier: GPL-2.0-or-later
#include "graph.h"

#include <cmath>
#include <limits>
#include <stdexcept>

namespace cgpot {

namespace {
template <typename T> std::size_t capacity_bytes(const std::vector<T> &v)
{
  return v.capacity() * sizeof(T);
}
}    // namespace

std::size_t Graph::bytes() const
{
  return capacity_bytes(atoms) + capacity_bytes(types) + capacity_bytes(index) +
      capacity_bytes(vectors);
}

GraphBuilder::GraphBuilder(double cutoff, double length_scale) :
    cutoff_(cutoff), scale_(length_scale)
{
  if (!(cutoff > 0.0) || !(length_scale > 0.0))
    throw std::invalid_argument("cutoff and length scale of a graph must be positive");
}

std::size_t GraphBuilder::bytes() const
{
  return graph_.bytes() + capacity_bytes(node_of_) + capacity_bytes(depth_) +
      capacity_bytes(neighbors_);
}

int GraphBuilder::add_node(int atom, const int *type, const std::vector<int> &type_map, int depth)
{
  const int t = type_map[static_cast<std::size_t>(type[atom])];
  if (t < 0) return -1;
  const auto node = static_cast<int>(graph_.atoms.size());
  node_of_[static_cast<std::size_t>(atom)] = node;
  graph_.atoms.push_back(atom);
  graph_.types.push_back(t);
  depth_.push_back(depth);
  return node;
}

const Graph &GraphBuilder::build(const double *const *x, const int *type, int nlocal, int nall,
                                 const std::vector<int> &type_map, const NeighborView &list,
                                 Ghosts ghosts, const int *owner, int reach)
{
  Graph &g = graph_;
  g.atoms.clear();
  g.types.clear();
  g.index.clear();
  g.vectors.clear();
  depth_.clear();
  neighbors_.clear();
  node_of_.assign(static_cast<std::size_t>(nall), -1);

  for (int ii = 0; ii < list.inum; ++ii) add_node(list.ilist[ii], type, type_map, 0);
  g.owned = static_cast<int>(g.atoms.size());
  if (ghosts == Ghosts::exchange)    // all: a ghost may hand on to other ghosts what it receives
    for (int i = nlocal; i < nall; ++i) add_node(i, type, type_map, 1);

  const double cutsq = cutoff_ * cutoff_;
  double shortest = std::numeric_limits<double>::max();
  g.shortest_edge = 0;
  // nodes of a halo come in the order of their depth, and grow while the loop runs
  for (int n = 0; n < static_cast<int>(g.atoms.size()); ++n) {
    const int depth = depth_[static_cast<std::size_t>(n)];
    if (ghosts == Ghosts::halo ? depth >= reach : n >= g.owned) break;
    const int i = g.atoms[static_cast<std::size_t>(n)];
    const double xi = x[i][0], yi = x[i][1], zi = x[i][2];
    const int *neighbors = list.firstneigh[i];
    for (int jj = 0; jj < list.numneigh[i]; ++jj) {
      const int j = neighbors[jj] & list.mask;
      const double dx = (x[j][0] - xi) * scale_;
      const double dy = (x[j][1] - yi) * scale_;
      const double dz = (x[j][2] - zi) * scale_;
      const double rsq = dx * dx + dy * dy + dz * dz;
      if (rsq >= cutsq) continue;
      const int atom = ghosts == Ghosts::image ? owner[j] : j;
      int node = node_of_[static_cast<std::size_t>(atom)];
      if (node < 0 && ghosts == Ghosts::halo) node = add_node(atom, type, type_map, depth + 1);
      if (node < 0) continue;
      if (rsq < shortest) {
        shortest = rsq;
        g.shortest_edge = neighbors_.size();
      }
      g.index.push_back(n);
      neighbors_.push_back(node);
      g.vectors.push_back(dx);
      g.vectors.push_back(dy);
      g.vectors.push_back(dz);
    }
  }
  g.nodes = static_cast<int>(g.atoms.size());
  g.edges = neighbors_.size();
  g.shortest = g.edges ? std::sqrt(shortest) : 0.0;

  const bool needed = g.nodes > 0 || ghosts == Ghosts::exchange;
  if (needed && (g.nodes < 2 || g.edges < 2)) {
    for (int k = 0; k < 2; ++k) {
      g.types.push_back(g.nodes > 0 ? g.types[0] : 0);
      g.index.push_back(g.nodes + k);
      neighbors_.push_back(g.nodes + 1 - k);
      g.vectors.push_back(k == 0 ? 2.0 * cutoff_ : -2.0 * cutoff_);
      g.vectors.push_back(0.0);
      g.vectors.push_back(0.0);
    }
  }
  g.padded_nodes = static_cast<int>(g.types.size());
  g.padded_edges = neighbors_.size();
  g.index.insert(g.index.end(), neighbors_.begin(), neighbors_.end());
  return g;
}

void Tally::sum(const Graph &graph, const double *gradient)
{
  forces.assign(3 * static_cast<std::size_t>(graph.nodes), 0.0);
  virials.assign(atom_virial ? 9 * static_cast<std::size_t>(graph.nodes) : 0, 0.0);
  for (double &w : virial) w = 0.0;

  const std::int64_t *centers = graph.centers();
  const std::int64_t *neighbors = graph.neighbors();
  for (std::size_t e = 0; e < graph.edges; ++e) {
    const double *r = &graph.vectors[3 * e];
    const double *d = gradient + 3 * e;
    double *fi = &forces[3 * static_cast<std::size_t>(centers[e])];
    double *fj = &forces[3 * static_cast<std::size_t>(neighbors[e])];
    for (int k = 0; k < 3; ++k) {
      fi[k] += d[k];
      fj[k] -= d[k];
    }
    if (!total_virial && !atom_virial) continue;
    const double w[9] = {-r[0] * d[0], -r[1] * d[1], -r[2] * d[2], -r[0] * d[1], -r[0] * d[2],
                         -r[1] * d[2], -r[1] * d[0], -r[2] * d[0], -r[2] * d[1]};
    // the sum over edges is symmetric because the energy does not change under rotation
    for (int k = 0; k < 3; ++k) {
      virial[k] += w[k];
      virial[k + 3] += 0.5 * (w[k + 3] + w[k + 6]);
    }
    if (!atom_virial) continue;
    double *wi = &virials[9 * static_cast<std::size_t>(centers[e])];
    double *wj = &virials[9 * static_cast<std::size_t>(neighbors[e])];
    for (int k = 0; k < 9; ++k) {
      wi[k] += 0.5 * w[k];
      wj[k] += 0.5 * w[k];
    }
  }
}

}    // namespace cgpot
