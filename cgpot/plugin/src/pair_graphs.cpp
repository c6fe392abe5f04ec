// SPDX-License-Identifier: GPL-2.0-or-later
#include "pair_graphs.h"

#include "device_graph.h"
#include "direct.h"
#include "pair_ensemble.h"

#include "atom.h"
#include "comm.h"
#include "domain.h"
#include "error.h"
#include "fix.h"
#include "force.h"
#include "modify.h"
#include "neigh_list.h"
#include "neighbor.h"
#include "pair.h"
#include "utils.h"

#include <algorithm>
#include <stdexcept>

namespace cgpot {

using namespace LAMMPS_NS;

namespace {

// Messages of MPI between the ranks of a world.
DirectExchanger::Transport transport(MPI_Comm world)
{
  DirectExchanger::Transport out;
#ifdef MPI_STUBS    // one rank, which owns all
  (void) world;
  out.numbers = [](const int *to, int *from) { *from = *to; };
  out.bytes = [](const char *, const std::vector<std::size_t> &, char *,
                 const std::vector<std::size_t> &) {};
#else
  constexpr int tag = 1017;
  out.numbers = [world](const int *to, int *from) {
    MPI_Alltoall(to, 1, MPI_INT, from, 1, MPI_INT, world);
  };
  out.bytes = [world](const char *send, const std::vector<std::size_t> &to, char *receive,
                      const std::vector<std::size_t> &from) {
    std::vector<MPI_Request> requests;
    for (std::size_t r = 0; r < from.size(); receive += from[r++])
      if (from[r] > 0) {
        requests.emplace_back();
        MPI_Irecv(receive, static_cast<int>(from[r]), MPI_BYTE, static_cast<int>(r), tag, world,
                  &requests.back());
      }
    for (std::size_t r = 0; r < to.size(); send += to[r++])
      if (to[r] > 0) {
        requests.emplace_back();
        MPI_Isend(send, static_cast<int>(to[r]), MPI_BYTE, static_cast<int>(r), tag, world,
                  &requests.back());
      }
    MPI_Waitall(static_cast<int>(requests.size()), requests.data(), MPI_STATUSES_IGNORE);
  };
#endif
  return out;
}

}    // namespace

PairGraphs::PairGraphs(LAMMPS *lmp, Pair &pair) :
    Pointers(lmp), pair_(pair), exclusions_(lmp)
{
}

PairGraphs::~PairGraphs() = default;

void PairGraphs::open(const PairEnsemble &ensemble)
{
  ensemble_ = &ensemble;
  const double scale = ensemble.scales().length;
  builder_ = std::make_unique<GraphBuilder>(ensemble.cutoff() * scale, scale, ensemble.form());
  device_graph_.reset();
}

void PairGraphs::init(const Options &options)
{
  options_ = options;
  exclusions_.init(ensemble_->first().pairs);
  choose_ghosts();
  choose_list();
  choose_device();
}

// LAMMPS's list only where it knows what the plugin's own does not: neighbours of ghosts, types of
// other styles, exclusions.
void PairGraphs::choose_list()
{
  const bool halo = ghosts_ == Ghosts::halo && reach_ > 1;
  bool hides = neighbor->nex_type + neighbor->nex_group + neighbor->nex_mol > 0;
  for (const auto &fix : modify->get_fix_list())    // these exclude groups once they are set up
    for (const char *style : {"^gcmc", "^widom", "^charge/regulation"})
      hides = hides || utils::strmatch(fix->style, style);
  own_list_ = !halo && !hides && !utils::strmatch(force->pair_style, "^hybrid");
  if (!own_list_)
    neighbor->add_request(&pair_, halo ? NeighConst::REQ_FULL | NeighConst::REQ_GHOST
                                       : NeighConst::REQ_FULL);
}

// On one rank ghosts are images of owned atoms. On several, features of ghosts are exchanged, or a
// halo is evaluated that is as deep as the model's layers.
void PairGraphs::choose_ghosts()
{
  bool can_exchange = true;
  reach_ = 1;
  for (const auto &member : ensemble_->members()) {
    reach_ = std::max(reach_, member.reach);
    can_exchange = can_exchange && (member.reach == 1 || member.exchange_width > 0);
  }
  pair_.comm_forward = 0;
  exchanger_.reset();
  ghosts_ = Ghosts::image;
  if (comm->nprocs == 1 && options_.ghosts == "auto") return;

  if (!force->newton_pair)
    error->all(FLERR, "pair_style cgpot on several MPI ranks needs `newton on`: forces on ghost "
                      "atoms go back to their owners");
  if (options_.ghosts == "exchange" && !can_exchange)
    error->all(FLERR, "pair_style cgpot: a model was compiled without the exchange of features: "
                      "compile it again with `cgpot deploy`, or use `ghosts halo`");
  const double work = halo_work();
  const bool multi = neighbor->style == Neighbor::MULTI || neighbor->style == Neighbor::MULTI_OLD;
  const bool exchange = reach_ > 1 && can_exchange &&
      (options_.ghosts == "exchange" || (options_.ghosts == "auto" && (work > 1.1 || multi)));
  if (multi && reach_ > 1 && !exchange)
    error->all(FLERR, "pair_style cgpot: LAMMPS has no neighbors of ghosts with `neighbor multi`, "
                      "which a halo needs: use `neighbor bin`, or `ghosts exchange`");
  ghosts_ = exchange ? Ghosts::exchange : Ghosts::halo;
  if (exchange) {
    pair_.comm_forward = 2;    // where each ghost is at home
    exchanger_ = std::make_unique<DirectExchanger>(comm->nprocs, transport(world));
  } else if (reach_ > 1) {
    const double needed = reach_ * ensemble_->cutoff() + neighbor->skin;
    if (comm->cutghostuser < needed) comm->cutghostuser = needed;
  }
  // LAMMPS sizes its buffers by the outermost style: pair_style hybrid has asked us before
  force->pair->comm_forward = std::max(force->pair->comm_forward, pair_.comm_forward);
  if (comm->me != 0) return;
  if (reach_ == 1)
    utils::logmesg(lmp, "cgpot: strictly local model, ghosts within the cutoff\n");
  else
    utils::logmesg(lmp, std::string("cgpot: ") + std::to_string(reach_) + " layers, " +
                            (exchange ? "features of ghosts are exchanged between them"
                                      : "a halo of ghosts as deep as the layers is evaluated") +
                            " (a halo is " + number(work) + " times the work)\n");
}

// Centres to evaluate with a halo, over the owned ones: from the shape of a mean subdomain.
double PairGraphs::halo_work() const
{
  const double depth = (reach_ - 1) * ensemble_->cutoff();
  double owned = 1.0, all = 1.0;
  for (int k = 0; k < 3; ++k) {
    const double length = domain->prd[k] / comm->procgrid[k];
    owned *= length;
    all *= length + 2.0 * depth;
  }
  return all / owned;
}

// Edges are found on the device where LAMMPS's list is not needed and there is a GPU, or as told.
void PairGraphs::choose_device()
{
  const Member &first = ensemble_->members()[0];
  const bool cuda = first.sidecar.device == "cuda";
  if (options_.graph == "device" && !own_list_)
    error->all(FLERR, "pair_style cgpot: `graph device` finds neighbors by positions alone: not with "
                      "pair_style hybrid, excluded neighbors, or a halo of several layers");
  if (!own_list_ || options_.graph == "host" || (options_.graph == "auto" && !cuda)) {
    device_graph_.reset();
    return;
  }
  const double scale = ensemble_->scales().length;
  if (!device_graph_)
    device_graph_ = std::make_unique<DeviceGraph>(
        ensemble_->cutoff() * scale, scale, first.sidecar.device, first.device_index,
        builder_->graph().form.single);
  if (comm->me == 0) utils::logmesg(lmp, "cgpot: neighbors are found on the device of the models\n");
}

const Graph &PairGraphs::build(const std::vector<int> &type_map, const NeighList *list)
{
  const int nall = atom->nlocal + atom->nghost;
  const ListStamp stamp{neighbor->lastcall, neighbor->ncalls, atom->nlocal, nall,
                        own_list_ ? atom->nlocal : list->inum};
  const bool moved = neighbor->ago == 0 || !(stamp == list_stamp_);
  const bool fresh = moved || builder_->stale() || (device_graph_ && device_graph_->stale());
  list_stamp_ = stamp;
  const Exclusions *hidden = exclusions_.update(type_map, moved);
  builder_->hide(hidden);
  if (fresh && ghosts_ != Ghosts::halo) {
    const int orphan = map_owners(atom->tag, atom->nlocal, nall, owner_,
                                  ghosts_ == Ghosts::exchange);
    if (orphan >= 0)
      error->one(FLERR, "pair_style cgpot: ghost atom with ID " + std::to_string(atom->tag[orphan]) +
                            " is the image of no atom on this rank");
  }
  const double range = ensemble_->cutoff() + neighbor->skin;
  const double *x = nall ? atom->x[0] : nullptr;
  if (device_graph_) {
    bool renewed = fresh;
    const Graph &nodes = builder_->place(atom->type, atom->nlocal, nall, type_map, ghosts_,
                                         owner_.data(), renewed);
    if (nodes.owned > 0 || exchanger_) {
      try {
        device_graph_->build(x, nall, nodes, builder_->node_of(), range, renewed,
                             hidden);
      } catch (const std::exception &e) {
        error->one(FLERR, std::string("pair_style cgpot: ") + e.what());
      }
    }
    if (exchanger_) share_homes(nodes);
    return nodes;
  }
  NeighborView view;
  if (own_list_)
    view.range = range;
  else
    view = {list->inum, list->ilist, list->numneigh, list->firstneigh, NEIGHMASK};
  view.room = nall < atom->nmax;
  const Graph &graph = builder_->build(x, atom->type, atom->nlocal, nall, type_map, view, ghosts_,
                                       owner_.data(), reach_, fresh);
  if (exchanger_) share_homes(graph);
  return graph;
}

// Nodes of one rank are ghosts of others: all agree on them again where one has made its own anew.
void PairGraphs::share_homes(const Graph &graph)
{
  int renewed = builder_->renewed() ? 1 : 0;
  if (neighbor->ago > 0) MPI_Allreduce(MPI_IN_PLACE, &renewed, 1, MPI_INT, MPI_MAX, world);
  if (!renewed) return;
  const std::vector<int> &node_of = builder_->node_of();
  homes_.resize(2 * node_of.size());
  for (std::size_t i = 0; i < static_cast<std::size_t>(atom->nlocal); ++i) {
    homes_[2 * i] = comm->me;
    homes_[2 * i + 1] = node_of[i];
  }
  comm->forward_comm(&pair_, 2);
  const auto owned = static_cast<std::size_t>(graph.owned);
  const auto ghosts = static_cast<std::size_t>(graph.nodes) - owned;
  std::vector<Home> homes(ghosts);
  for (std::size_t n = 0; n < ghosts; ++n) {
    const double *home = &homes_[2 * static_cast<std::size_t>(graph.atoms[owned + n])];
    if (builder_->near()[n] && home[1] >= 0.0)
      homes[n] = {static_cast<int>(home[0]), static_cast<int>(home[1])};
  }
  exchanger_->begin(homes, graph.owned);
}

// The closest beads, or that there are none.
std::string PairGraphs::closest() const
{
  const Graph &graph = builder_->graph();
  if (device_graph_ ? device_graph_->edges() == 0 : graph.edges == 0)
    return "no pair is within the cutoff";
  const auto id = [&](std::int64_t node) {
    return std::to_string(atom->tag[graph.atoms[static_cast<std::size_t>(node)]]);
  };
  DeviceGraph::Edge edge;
  if (device_graph_) {
    edge = device_graph_->shortest();
  } else {
    const std::size_t e = graph.shortest();
    edge = {graph.center(e), graph.neighbors()[e], graph.length(e)};
  }
  return "the closest beads are atoms " + id(edge.center) + " and " + id(edge.neighbor) + ", " +
      number(edge.length / ensemble_->scales().length) + " Angstrom apart";
}

int PairGraphs::pack_forward(int n, const int *list, double *buffer) const
{
  for (int k = 0; k < n; ++k) {
    const double *home = &homes_[2 * static_cast<std::size_t>(list[k])];
    buffer[2 * k] = home[0];
    buffer[2 * k + 1] = home[1];
  }
  return 2 * n;
}

void PairGraphs::unpack_forward(int n, int first, const double *buffer)
{
  std::copy_n(buffer, 2 * n, homes_.begin() + 2 * first);
}

double PairGraphs::bytes() const
{
  return static_cast<double>(owner_.capacity() * sizeof(int) + exclusions_.bytes()) +
      (builder_ ? static_cast<double>(builder_->bytes()) : 0.0);
}

}    // namespace cgpot
