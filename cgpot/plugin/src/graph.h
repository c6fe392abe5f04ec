// SPDX-License-Identifier: GPL-2.0-or-later
// The graph a model sees: beads as nodes, pairs within the cutoff (periodic images included) as
// edges. No LAMMPS and no torch types here, so that it can be tested alone.
#pragma once

#include "cells.h"
#include "exclusions.h"
#include "pages.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

namespace cgpot {

// A full neighbour list: for each of `inum` centres its neighbours among owned atoms and ghosts. Or
// none (`range` is given): then all owned atoms are centres, and neighbours are found by cells.
struct NeighborView {
  int inum = 0;
  const int *ilist = nullptr;           // (inum) index of the centre, an owned atom
  const int *numneigh = nullptr;        // (owned atoms) number of neighbours
  const int *const *firstneigh = nullptr;    // (owned atoms) neighbour indices
                                        // halo: both for ghosts too
  int mask = ~0;                        // bits of a neighbour entry that hold the index
  double range = 0.0;                   // cutoff and skin in the unit of `x`; 0 with a list
  bool room = false;                    // whether one number more may be read behind `x`
};

// What models read of edges.
struct EdgeForm {
  bool single = false;     // vectors in single precision
  bool centers = true;     // the centre of each edge; else `offsets` alone tell it
};

// What stands for a bead beyond the owned ones.
enum class Ghosts {
  image,       // the owned atom with the same ID: one rank
  exchange,    // the owned atom with the same ID, or a node without edges for all ghosts with that
               // ID, whose features the model fetches instead of computing them
  halo,        // a node of its own with the edges that owned energies depend on
};

struct Graph {
  int nodes = 0;             // beads, without padding
  int owned = 0;             // of them owned: the first ones
  std::size_t edges = 0;     // edges, without padding
  int padded_nodes = 0;      // length of `types`
  int computed = 0;          // the first ones of them: those that a model computes features of
  bool only_owned = false;   // these are the owned ones, where there is no padding
  std::size_t padded_edges = 0;
  EdgeForm form;
  std::vector<int> atoms;               // (nodes) LAMMPS index of each node
  std::vector<std::int64_t> types;      // (padded_nodes) type of the model
  std::vector<std::int64_t> offsets;    // (padded_nodes + 1) first edge of each centre
  // these may be longer than what they hold
  Pages<std::int64_t> rows;             // from `start` on (2, padded_edges): centres, neighbours
  Pages<double> vectors;                // (padded_edges, 3) x_neighbour - x_centre, model's unit
  Pages<float> singles;                 // the same where the form says so, and `vectors` are none
  std::size_t start = 0;

  const std::int64_t *index() const { return rows.data() + start; }
  const std::int64_t *neighbors() const { return index() + padded_edges; }
  std::int64_t center(std::size_t edge) const;
  // Calls `f` with the vectors in the precision that they have.
  template <typename F> auto with_vectors(F &&f) { return form.single ? f(singles) : f(vectors); }
  // A component of an edge's vector.
  double component(std::size_t edge, std::size_t k) const
  {
    const std::size_t at = 3 * edge + k;
    return form.single ? static_cast<double>(singles[at]) : vectors[at];
  }
  std::size_t shortest() const;             // the first of the shortest edges; 0 without edges
  double length(std::size_t edge) const;    // model's unit
  std::size_t bytes() const;
};

// Builds graphs one after another in the same buffers. It holds a Verlet list of its own: made from
// LAMMPS's list whenever that is new, with nodes in place of atoms; the steps between only take the
// pairs within the cutoff from it, in an order that does not change.
class GraphBuilder {
 public:
  // cutoff: in the model's length unit; length_scale: model's unit per unit of `x`.
  GraphBuilder(double cutoff, double length_scale, EdgeForm form = {});

  // x: (nall, 3) positions; type: (nall) atom types from 1; nlocal: owned atoms, the first ones;
  // type_map: model type of each atom type (index 0 unused), -1 for none: such atoms take no part.
  // owner: (nall) see map_owners(), for Ghosts::image and (remote) Ghosts::exchange; reach: for
  // Ghosts::halo the number of steps over which a model passes messages (edges of nodes that are
  // fewer steps away from owned ones are in the graph). A graph with fewer than two nodes or edges
  // is padded with two beads further apart than the cutoff: compiled models take no smaller sizes.
  // Without nodes this is done for Ghosts::exchange alone, whose ranks run the model together.
  // fresh: whether atoms or `list` are others than at the call before; if not, `list`, `owner` and
  // the way with ghosts are not looked at (a halo of more than one step follows the beads: it is
  // made anew each time, and needs a list).
  const Graph &build(const double *x, const int *type, int nlocal, int nall,
                     const std::vector<int> &type_map, const NeighborView &list, Ghosts ghosts,
                     const int *owner = nullptr, int reach = 1, bool fresh = true);

  // Pairs that are left out of graphs from now on, null for none; their atoms and cell must be those
  // of the calls that follow.
  void hide(const Exclusions *hidden) { hidden_ = hidden; }

  // The nodes alone, for edges that are found elsewhere (DeviceGraph); with Ghosts::halo all ghosts
  // are nodes. fresh: as for build(); on return, whether nodes were made anew.
  const Graph &place(const int *type, int nlocal, int nall, const std::vector<int> &type_map,
                     Ghosts ghosts, const int *owner, bool &fresh);

  // Whether the last call made nodes anew.
  bool renewed() const { return renewed_; }
  // (nodes - owned) whether the ghosts may have edges before nodes are made anew.
  const std::vector<char> &near() const { return near_ghosts_; }

  // Whether the next call of build() or place() must be a fresh one.
  bool stale() const { return stale_; }

  const Graph &graph() const { return graph_; }
  const std::vector<int> &node_of() const { return node_of_; }
  std::size_t bytes() const;

 private:
  int add_node(int atom, const int *type, const std::vector<int> &type_map, int depth);
  void add_nodes(const int *type, const int *centers, int count, int nlocal, int nall,
                 const std::vector<int> &type_map, Ghosts ghosts, const int *owner);
  void collect(const double *x, const int *type, int nlocal, int nall,
               const std::vector<int> &type_map, const NeighborView &list, Ghosts ghosts,
               const int *owner);
  bool same_nodes(const int *type, int nlocal, const std::vector<int> &type_map, Ghosts ghosts);
  std::size_t leave_out(const double *x, int center, std::size_t begin, std::size_t end);
  void select(const double *x, bool room);
  template <bool hides>
  void follow(const double *x, const int *type, int nall,
              const std::vector<int> &type_map, const NeighborView &list, int reach);
  void pad(Ghosts ghosts);

  double cutoff_;
  double scale_;
  Graph graph_;
  const Exclusions *hidden_ = nullptr;
  bool stale_ = true;
  bool doubtful_ = false;    // whether a pair may become excluded, or cease to be, with the next step
  bool renewed_ = false;
  std::vector<char> near_ghosts_;
  Cells cells_;
  std::vector<int> labels_;                // (nall) atoms that may become nodes, else -1
  std::vector<int> node_of_;               // (nall) node of an atom, -1 for none
  std::vector<int> kept_types_;            // (nall) atom types of the call before
  std::vector<int> depth_;                 // (nodes) steps from the owned nodes
  std::vector<std::int64_t> neighbors_;    // of a halo of several steps, while they are found
  std::vector<std::size_t> first_;         // (owned + 1) first candidate of each centre
  // these two may be longer
  Pages<int> candidate_atoms_;             // (candidates) LAMMPS index of the neighbour
  Pages<int> candidate_nodes_;             // (candidates) its node
};

// owner[i] for owned atoms and ghosts: the owned atom with the same id; with `remote`, where there is
// none, the first ghost with that id. Returns the index of the first ghost for which there is no
// owner, or -1.
template <typename Id>
int map_owners(const Id *id, int nlocal, int nall, std::vector<int> &owner, bool remote = false)
{
  owner.resize(static_cast<std::size_t>(nall));
  Id largest = 0;
  const int ranged = remote ? nall : nlocal;
  for (int i = 0; i < ranged; ++i) largest = id[i] > largest ? id[i] : largest;
  for (int i = 0; i < nlocal; ++i) owner[static_cast<std::size_t>(i)] = i;
  if (static_cast<std::int64_t>(largest) <= 16 * static_cast<std::int64_t>(ranged) + 1024) {
    std::vector<int> table(static_cast<std::size_t>(largest) + 1, -1);
    for (int i = 0; i < nlocal; ++i) table[static_cast<std::size_t>(id[i])] = i;
    for (int i = nlocal; i < nall; ++i) {
      const bool inside = id[i] >= 0 && id[i] <= largest;
      int *of = inside ? &table[static_cast<std::size_t>(id[i])] : nullptr;
      if (of && *of < 0 && remote) *of = i;
      if (!of || *of < 0) return i;
      owner[static_cast<std::size_t>(i)] = *of;
    }
    return -1;
  }
  std::unordered_map<Id, int> table;
  table.reserve(static_cast<std::size_t>(ranged));
  for (int i = 0; i < nlocal; ++i) table[id[i]] = i;
  for (int i = nlocal; i < nall; ++i) {
    const auto found = remote ? table.try_emplace(id[i], i).first : table.find(id[i]);
    if (found == table.end()) return i;
    owner[static_cast<std::size_t>(i)] = found->second;
  }
  return -1;
}

// Sums over edges from g = dE/d(edge vector), everything in the model's units.
struct Tally {
  bool total_virial = false;
  bool atom_virial = false;
  std::vector<double> forces;      // (nodes, 3)
  double virial[6] = {};           // xx yy zz xy xz yz, W = -sum r g, the sign of LAMMPS
  std::vector<double> virials;     // (nodes, 9) xx yy zz xy xz yz yx zx zy, half of an edge each

  template <typename T> void sum(const Graph &graph, const T *gradient);    // double or float
  // Adds `weight` times what another one holds; to nothing where `first`.
  void add(const Tally &other, double weight, bool first);

 private:
  std::vector<double> wide_;       // (nodes, 4) forces while they are summed
};

}    // namespace cgpot
