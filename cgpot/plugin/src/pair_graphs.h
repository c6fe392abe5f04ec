// SPDX-License-Identifier: GPL-2.0-or-later
// Which graph a pair style evaluates, and how it comes about: ghosts as images, exchanged or as a
// halo; neighbours from the plugin's own list or from LAMMPS's; edges on the host or on the device.
#pragma once

#include "graph.h"
#include "options.h"
#include "pair_exclusions.h"

#include "pointers.h"

#include <memory>
#include <string>
#include <vector>

namespace LAMMPS_NS {
class NeighList;
class Pair;
}    // namespace LAMMPS_NS

namespace cgpot {

class DeviceGraph;
class DirectExchanger;
class PairEnsemble;

class PairGraphs : protected LAMMPS_NS::Pointers {
 public:
  PairGraphs(LAMMPS_NS::LAMMPS *lmp, LAMMPS_NS::Pair &pair);
  ~PairGraphs() override;

  // For models that have been opened anew.
  void open(const PairEnsemble &ensemble);
  // Before a run: chooses, and asks LAMMPS for the list and the ghosts that it takes.
  void init(const Options &options);

  // The graph as the atoms are now; its edges on the host, or in device(). list: LAMMPS's, where one
  // was asked for; type_map: model type of each atom type from 1, -1 for none.
  const Graph &build(const std::vector<int> &type_map, const LAMMPS_NS::NeighList *list);

  Ghosts ghosts() const { return ghosts_; }
  bool own_list() const { return own_list_; }    // LAMMPS makes none
  DeviceGraph *device() const { return device_graph_.get(); }
  DirectExchanger *exchanger() const { return exchanger_.get(); }
  std::string closest() const;    // beads, for a message

  int pack_forward(int n, const int *list, double *buffer) const;
  void unpack_forward(int n, int first, const double *buffer);
  double bytes() const;

 private:
  LAMMPS_NS::Pair &pair_;
  const PairEnsemble *ensemble_ = nullptr;
  Options options_;
  std::unique_ptr<GraphBuilder> builder_;
  std::unique_ptr<DeviceGraph> device_graph_;    // of this run; none: edges on the host
  std::unique_ptr<DirectExchanger> exchanger_;
  Ghosts ghosts_ = Ghosts::image;        // of this run
  int reach_ = 1;                        // steps over which the models pass messages
  bool own_list_ = false;                // the builder finds neighbours, LAMMPS makes no list
  std::vector<double> homes_;            // (atoms, 2) rank and node there, while they are shared
  std::vector<int> owner_;               // owned atom of each owned or ghost atom
  struct ListStamp {    // tells one neighbour list from the next
    LAMMPS_NS::bigint step = -1, builds = -1;
    int nlocal = -1, nall = -1, centers = -1;
    bool operator==(const ListStamp &) const = default;
  };
  ListStamp list_stamp_;
  PairExclusions exclusions_;

  void choose_ghosts();
  void choose_list();
  void choose_device();
  void share_homes(const Graph &graph);
  double halo_work() const;
};

}    // namespace cgpot
