// SPDX-License-Identifier: GPL-2.0-or-later
#include "pair_cgpot.h"

#include "device_graph.h"
#include "direct.h"
#include "framefile.h"
#include "graph.h"
#include "member.h"
#include "options.h"
#include "ranks.h"
#include "spread.h"

#include "atom.h"
#include "comm.h"
#include "domain.h"
#include "error.h"
#include "fix.h"
#include "force.h"
#include "memory.h"
#include "modify.h"
#include "neigh_list.h"
#include "neighbor.h"
#include "universe.h"
#include "update.h"
#include "utils.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>

using namespace LAMMPS_NS;
using cgpot::joined;
using cgpot::number;

namespace {

constexpr double mass_tolerance = 0.01;
constexpr int summary_length = 7;
constexpr int spread_step_entry = 4, model_time_entry = 5, pair_time_entry = 6;

double seconds_since(std::chrono::steady_clock::time_point start)
{
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Messages of MPI between the ranks of a world.
cgpot::DirectExchanger::Transport transport(MPI_Comm world)
{
  cgpot::DirectExchanger::Transport out;
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

PairCGPot::PairCGPot(LAMMPS *lmp) :
    Pair(lmp), options_(std::make_unique<cgpot::Options>()),
    mean_tally_(std::make_unique<cgpot::Tally>()),
    spread_(std::make_unique<cgpot::Spread>()), ghosts_(cgpot::Ghosts::image),
    summary_(summary_length, 0.0)
{
  nextra = summary_length;
  if (comm->me == 0) summary_[spread_step_entry] = -1.0;    // compute pair sums over ranks
  pvector = summary_.data();
  single_enable = 0;
  restartinfo = 0;
  one_coeff = 1;
  manybody_flag = 1;
  no_virial_fdotr_compute = 1;
  respa_enable = 0;
  centroidstressflag = CENTROID_AVAIL;
}

PairCGPot::~PairCGPot()
{
  if (copymode) return;
  if (allocated) {
    memory->destroy(setflag);
    memory->destroy(cutsq);
  }
}

void PairCGPot::allocate()
{
  allocated = 1;
  const int n = atom->ntypes + 1;
  memory->create(setflag, n, n, "pair:setflag");
  memory->create(cutsq, n, n, "pair:cutsq");
  for (int i = 0; i < n; ++i)
    for (int j = 0; j < n; ++j) setflag[i][j] = 0;
}

void PairCGPot::settings(int narg, char **arg)
{
  try {
    *options_ = cgpot::parse_options(std::vector<std::string>(arg, arg + narg));
  } catch (const std::exception &e) {
    error->all(FLERR, e.what());
  }
  if (std::strcmp(update->unit_style, "metal") != 0 && std::strcmp(update->unit_style, "real") != 0)
    error->all(FLERR, std::string("pair_style cgpot needs `units metal` or `units real`, found "
                                  "`units ") + update->unit_style + "`");
}

void PairCGPot::coeff(int narg, char **arg)
{
  if (!allocated) allocate();
  if (narg < 3 || std::strcmp(arg[0], "*") != 0 || std::strcmp(arg[1], "*") != 0)
    error->all(FLERR, "pair_coeff for cgpot must read: pair_coeff * * model.nequip.pt2 followed by "
                      "a bead name for each atom type");
  std::vector<std::string> paths{arg[2]};
  for (int k = 3; k < narg && cgpot::names_model(arg[k]); ++k) paths.emplace_back(arg[k]);
  open_models(paths);
  const int used = 2 + static_cast<int>(paths.size());
  map_types(narg - used, arg + used);
}

void PairCGPot::open_models(const std::vector<std::string> &paths)
{
  members_.clear();
  const cgpot::Place here = place();
  try {
    for (const auto &path : paths) {
      cgpot::Member member = cgpot::open_member(path, here);
      for (const auto &other : members_) cgpot::check_member(other, member);
      members_.push_back(std::move(member));
    }
  } catch (const std::exception &e) {
    members_.clear();
    error->all(FLERR, e.what());
  }
  models_ = 0;
  for (const auto &member : members_) models_ += member.count;
  const int count = models_;
  if (count < 2 && options_->ensemble())
    error->all(FLERR, std::string("pair_style cgpot: keyword '") +
                          (options_->spread > 0 ? "spread" : "use") +
                          "' needs at least two models in pair_coeff, found one");
  if (options_->use > count)
    error->all(FLERR, "pair_style cgpot: `use " + std::to_string(options_->use) + "`, but "
                          "pair_coeff names " + std::to_string(count) + " models");

  per_ev_ = std::strcmp(update->unit_style, "real") == 0
      ? utils::get_conversion_factor(utils::ENERGY, utils::METAL2REAL)
      : 1.0;
  const cgpot::Sidecar &first = members_[0].sidecar;
  energy_scale_ = first.energy_in_ev() * per_ev_;
  length_scale_ = 1.0 / first.length_in_angstrom();
  double longest = 0.0;
  cgpot::EdgeForm form{true, false};    // what all of them can do with
  for (const auto &member : members_) {
    longest = std::max(longest, member.sidecar.cutoff);
    form.single = form.single && member.form.single;
    form.centers = form.centers || member.form.centers;
  }
  cutoff_ = longest / length_scale_;
  builder_ = std::make_unique<cgpot::GraphBuilder>(longest, length_scale_, form);
  device_graph_.reset();
  tallies_.resize(static_cast<std::size_t>(count));
  spread_step_ = acted_step_ = -1;
  std::fill(summary_.begin(), summary_.end(), 0.0);
  if (comm->me != 0) return;
  summary_[spread_step_entry] = -1.0;
  for (const auto &member : members_)
    utils::logmesg(lmp, "cgpot: " + member.path + ", beads " + joined(member.sidecar.bead_names) +
                            ", cutoff " + number(member.sidecar.cutoff / length_scale_) +
                            " Angstrom, " + member.sidecar.dtype + " on " + member.device_text +
                            (member.count > 1 ? ", " + std::to_string(member.count) +
                                     " models in one batch"
                                              : std::string()) +
                            "\n");
  if (count > 1)
    utils::logmesg(lmp, "cgpot: ensemble of " + std::to_string(count) + " models, forces of " +
                            (options_->use ? "member " + std::to_string(options_->use)
                                           : std::string("their mean")) +
                            (options_->spread
                                 ? ", spread every " + std::to_string(options_->spread) + " steps"
                                 : std::string()) +
                            "\n");
}

cgpot::Place PairCGPot::place() const
{
  cgpot::Place place;
  place.worlds = universe->nworlds;
  place.universe = universe->me;
#ifndef MPI_STUBS
  MPI_Comm machine;
  MPI_Comm_split_type(world, MPI_COMM_TYPE_SHARED, comm->me, MPI_INFO_NULL, &machine);
  MPI_Comm_rank(machine, &place.shared);
  MPI_Comm_free(&machine);
#endif
  return place;
}

void PairCGPot::map_types(int narg, char **arg)
{
  if (narg != atom->ntypes)
    error->all(FLERR, "pair_coeff for cgpot: " + std::to_string(atom->ntypes) +
                          " atom type(s) need as many bead names after the model file, found " +
                          std::to_string(narg));
  type_map_.assign(static_cast<std::size_t>(atom->ntypes) + 1, -1);
  const auto &names = members_[0].sidecar.bead_names;
  for (int i = 1; i <= atom->ntypes; ++i) {
    const std::string name = arg[i - 1];
    if (name == "NULL") {
      if (!utils::strmatch(force->pair_style, "^hybrid"))
        error->all(FLERR, "pair_coeff for cgpot: atom type " + std::to_string(i) +
                              " needs a bead name (the model has: " + joined(names) +
                              "); NULL is for pair_style hybrid");
      continue;
    }
    for (std::size_t k = 0; k < names.size(); ++k)
      if (names[k] == name) type_map_[static_cast<std::size_t>(i)] = static_cast<int>(k);
    if (type_map_[static_cast<std::size_t>(i)] < 0)
      error->all(FLERR, "pair_coeff for cgpot: bead name '" + name + "' of atom type " +
                            std::to_string(i) + " is not in the model " + members_[0].path +
                            ", which has: " + joined(names));
  }
  int count = 0;
  for (int i = 1; i <= atom->ntypes; ++i)
    for (int j = i; j <= atom->ntypes; ++j) {
      setflag[i][j] = type_map_[static_cast<std::size_t>(i)] >= 0 &&
              type_map_[static_cast<std::size_t>(j)] >= 0
          ? 1
          : 0;
      count += setflag[i][j];
    }
  if (count == 0) error->all(FLERR, "pair_coeff for cgpot: no atom type has a bead name");
}

void PairCGPot::init_style()
{
  if (atom->tag_enable == 0)
    error->all(FLERR, "pair_style cgpot needs atom IDs: periodic images are found by them");
  check_masses();
  choose_ghosts();
  // LAMMPS's list only where it knows what the plugin's own does not: neighbours of ghosts, types
  // of other styles, exclusions
  const bool halo = ghosts_ == cgpot::Ghosts::halo && reach_ > 1;
  bool hides = neighbor->nex_type + neighbor->nex_group + neighbor->nex_mol > 0;
  for (const auto &fix : modify->get_fix_list())    // these exclude groups once they are set up
    for (const char *style : {"^gcmc", "^widom", "^charge/regulation"})
      hides = hides || utils::strmatch(fix->style, style);
  own_list_ = !halo && !hides && !utils::strmatch(force->pair_style, "^hybrid");
  if (!own_list_)
    neighbor->add_request(this, halo ? NeighConst::REQ_FULL | NeighConst::REQ_GHOST
                                     : NeighConst::REQ_FULL);
  choose_graph();
}

// Edges are found on the device where LAMMPS's list is not needed and there is a GPU, or as told.
void PairCGPot::choose_graph()
{
  const cgpot::Member &first = members_[0];
  const bool cuda = first.sidecar.device == "cuda";
  if (options_->graph == "device" && !own_list_)
    error->all(FLERR, "pair_style cgpot: `graph device` finds neighbors by positions alone: not with "
                      "pair_style hybrid, excluded neighbors, or a halo of several layers");
  if (!own_list_ || options_->graph == "host" || (options_->graph == "auto" && !cuda)) {
    device_graph_.reset();
    return;
  }
  if (!device_graph_)
    device_graph_ = std::make_unique<cgpot::DeviceGraph>(
        cutoff_ * length_scale_, length_scale_, first.sidecar.device, first.device_index,
        builder_->graph().form.single);
  if (comm->me == 0) utils::logmesg(lmp, "cgpot: neighbors are found on the device of the models\n");
}

// On one rank ghosts are images of owned atoms. On several, features of ghosts are exchanged, or a
// halo is evaluated that is as deep as the model's layers.
void PairCGPot::choose_ghosts()
{
  bool can_exchange = true;
  reach_ = 1;
  for (const auto &member : members_) {
    reach_ = std::max(reach_, member.reach);
    can_exchange = can_exchange && (member.reach == 1 || member.exchange_width > 0);
  }
  comm_forward = comm_reverse = 0;
  exchanger_.reset();
  collector_.reset();
  ghosts_ = cgpot::Ghosts::image;
  if (comm->nprocs == 1 && options_->ghosts == "auto") return;

  if (!force->newton_pair)
    error->all(FLERR, "pair_style cgpot on several MPI ranks needs `newton on`: forces on ghost "
                      "atoms go back to their owners");
  if (options_->ghosts == "exchange" && !can_exchange)
    error->all(FLERR, "pair_style cgpot: a model was compiled without the exchange of features: "
                      "compile it again with `cgpot deploy`, or use `ghosts halo`");
  const double work = halo_work();
  const bool multi = neighbor->style == Neighbor::MULTI || neighbor->style == Neighbor::MULTI_OLD;
  const bool exchange = reach_ > 1 && can_exchange &&
      (options_->ghosts == "exchange" || (options_->ghosts == "auto" && (work > 1.1 || multi)));
  if (multi && reach_ > 1 && !exchange)
    error->all(FLERR, "pair_style cgpot: LAMMPS has no neighbors of ghosts with `neighbor multi`, "
                      "which a halo needs: use `neighbor bin`, or `ghosts exchange`");
  ghosts_ = exchange ? cgpot::Ghosts::exchange : cgpot::Ghosts::halo;
  if (exchange) {
    comm_forward = 2;    // where each ghost is at home
    exchanger_ = std::make_unique<cgpot::DirectExchanger>(comm->nprocs, transport(world));
  } else if (reach_ > 1) {
    const double needed = reach_ * cutoff_ + neighbor->skin;
    if (comm->cutghostuser < needed) comm->cutghostuser = needed;
  }
  if (models_ > 1) {
    const int columns = 3 * models_;
    comm_reverse = std::max(comm_reverse, columns);
    collector_ = std::make_unique<cgpot::RankExchanger>(
        [](int) {}, [this](int size) { comm->reverse_comm(this, size); }, columns);
  }
  // LAMMPS sizes its buffers by the outermost style: pair_style hybrid has asked us before
  force->pair->comm_forward = std::max(force->pair->comm_forward, comm_forward);
  force->pair->comm_reverse = std::max(force->pair->comm_reverse, comm_reverse);
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
double PairCGPot::halo_work() const
{
  const double depth = (reach_ - 1) * cutoff_;
  double owned = 1.0, all = 1.0;
  for (int k = 0; k < 3; ++k) {
    const double length = domain->prd[k] / comm->procgrid[k];
    owned *= length;
    all *= length + 2.0 * depth;
  }
  return all / owned;
}

double PairCGPot::init_one(int i, int j)
{
  if (setflag[i][j] == 0 && setflag[j][i] == 0)
    error->all(FLERR, "pair_style cgpot: no bead names for atom types " + std::to_string(i) +
                          " and " + std::to_string(j));
  return cutoff_;
}

void PairCGPot::check_masses() const
{
  if (!atom->mass) return;
  for (int i = 1; i <= atom->ntypes; ++i) {
    const int k = type_map_.empty() ? -1 : type_map_[static_cast<std::size_t>(i)];
    if (k < 0 || !atom->mass_setflag[i]) continue;
    const cgpot::Sidecar &sidecar = members_[0].sidecar;
    const double expected = sidecar.masses[static_cast<std::size_t>(k)];
    if (std::fabs(atom->mass[i] - expected) > mass_tolerance * expected && comm->me == 0)
      error->warning(FLERR, "cgpot: atom type " + std::to_string(i) + " has mass " +
                                number(atom->mass[i]) + ", but bead " +
                                sidecar.bead_names[static_cast<std::size_t>(k)] +
                                " of the model has " + number(expected));
  }
}

// A neighbour that special_bonds takes out of the list would be missing from the model's graph,
// and a factor between 0 and 1 cannot be applied to a many-body energy. In pair_style hybrid the
// factors are those of this sub-style, which LAMMPS sets before compute().
void PairCGPot::check_special_bonds() const
{
  if (atom->molecular == Atom::ATOMIC) return;
  const double *lj = force->special_lj;
  if (lj[1] == 1.0 && lj[2] == 1.0 && lj[3] == 1.0) return;
  bool bonded = atom->molecular == Atom::TEMPLATE;
  if (atom->nspecial)
    for (int i = 0; i < atom->nlocal && !bonded; ++i) bonded = atom->nspecial[i][2] > 0;
  if (bonded)
    error->all(FLERR, "pair_style cgpot: special_bonds lj is " + number(lj[1]) + " " +
                          number(lj[2]) + " " + number(lj[3]) +
                          ", which hides bonded neighbors from the model: use `special_bonds "
                          "lj/coul 1 1 1`");
}

void PairCGPot::fail_not_finite(const char *what) const
{
  const cgpot::Graph &graph = builder_->graph();
  std::string where = "no pair is within the cutoff";
  const bool device = device_graph_ != nullptr;
  if (device ? device_graph_->edges() > 0 : graph.edges > 0) {
    const auto id = [&](std::int64_t node) {
      return std::to_string(atom->tag[graph.atoms[static_cast<std::size_t>(node)]]);
    };
    cgpot::DeviceGraph::Edge edge;
    if (device) {
      edge = device_graph_->shortest();
    } else {
      const std::size_t e = graph.shortest();
      edge = {graph.center(e), graph.neighbors()[e], graph.length(e)};
    }
    where = "the closest beads are atoms " + id(edge.center) + " and " + id(edge.neighbor) + ", " +
        number(edge.length / length_scale_) + " Angstrom apart";
  }
  error->one(FLERR, std::string("pair_style cgpot: the ") + what +
                        " is not a finite number at step " + std::to_string(update->ntimestep) +
                        "; " + where);
}

void PairCGPot::compute(int eflag, int vflag)
{
  ev_init(eflag, vflag);
  check_special_bonds();
  if (neighbor->exclude && own_list_)
    error->all(FLERR, "pair_style cgpot: neighbors are excluded since the run was set up: repeat "
                      "the `run` command");
  if (neighbor->exclude && !warned_exclusion_) {
    warned_exclusion_ = true;
    if (comm->me == 0)
      error->warning(FLERR, "cgpot: `neigh_modify exclude` hides neighbors from the model");
  }

  const auto began = std::chrono::steady_clock::now();
  // times of a run are those of its steps: setting up loads and warms what is used first
  if (update->setupflag) summary_[model_time_entry] = summary_[pair_time_entry] = 0.0;

  const cgpot::Graph &graph = build();
  if (exchanger_)
    share_homes(graph);
  else if (graph.owned == 0) {    // the spread is a matter of all ranks
    if (spread_due()) tally_spread(graph, {});
    if (spread_step_ == update->ntimestep && options_->threshold > 0.0) act(graph);
    return;
  }

  for (cgpot::Tally &tally : tallies_) {
    tally.total_virial = vflag_global;
    tally.atom_virial = vflag_atom || cvflag_atom;
  }
  const Evaluation result = evaluate(graph);
  const cgpot::Tally &sums = *result.sums;

  double parts[4] = {};    // sums that do not wait for each other
  for (int n = 0; n < graph.owned; ++n) parts[n % 4] += result.energies[n];
  const double total = (parts[0] + parts[1]) + (parts[2] + parts[3]);
  if (!std::isfinite(total)) fail_not_finite("energy");

  const double force_scale = energy_scale_ * length_scale_;
  double check[3] = {};
  double *f = graph.nodes ? atom->f[0] : nullptr;
  for (int n = 0; n < graph.nodes; ++n) {
    const double *fn = &sums.forces[3 * static_cast<std::size_t>(n)];
    double *fi = f + 3 * static_cast<std::size_t>(graph.atoms[static_cast<std::size_t>(n)]);
    for (int k = 0; k < 3; ++k) {
      fi[k] += force_scale * fn[k];
      check[k] += std::fabs(fn[k]);
    }
  }
  if (!std::isfinite(check[0] + check[1] + check[2])) fail_not_finite("force");

  if (eflag_global) eng_vdwl += energy_scale_ * total;
  if (eflag_atom)
    for (int n = 0; n < graph.owned; ++n)
      eatom[graph.atoms[static_cast<std::size_t>(n)]] += energy_scale_ * result.energies[n];
  if (vflag_global)
    for (int k = 0; k < 6; ++k) virial[k] += energy_scale_ * sums.virial[k];
  if (sums.atom_virial)
    for (int n = 0; n < graph.nodes; ++n) {
      const int i = graph.atoms[static_cast<std::size_t>(n)];
      const double *w = &sums.virials[9 * static_cast<std::size_t>(n)];
      if (vflag_atom)
        for (int k = 0; k < 3; ++k) {
          vatom[i][k] += energy_scale_ * w[k];
          vatom[i][k + 3] += 0.5 * energy_scale_ * (w[k + 3] + w[k + 6]);
        }
      if (cvflag_atom)
        for (int k = 0; k < 9; ++k) cvatom[i][k] += energy_scale_ * w[k];
    }
  if (!update->setupflag) summary_[pair_time_entry] += seconds_since(began);
  // after the forces stand: a dump or an error of an action finds them whole
  if (spread_step_ == update->ntimestep && options_->threshold > 0.0) act(graph);
}

// The graph as the atoms are now; its edges on the host, or in `device_graph_`.
const cgpot::Graph &PairCGPot::build()
{
  const int nall = atom->nlocal + atom->nghost;
  const ListStamp stamp{neighbor->lastcall, neighbor->ncalls, atom->nlocal, nall,
                        own_list_ ? atom->nlocal : list->inum};
  const bool fresh = neighbor->ago == 0 || builder_->stale() || !(stamp == list_stamp_);
  list_stamp_ = stamp;
  if (fresh && ghosts_ != cgpot::Ghosts::halo) {
    const int orphan = cgpot::map_owners(atom->tag, atom->nlocal, nall, owner_,
                                         ghosts_ == cgpot::Ghosts::exchange);
    if (orphan >= 0)
      error->one(FLERR, "pair_style cgpot: ghost atom with ID " + std::to_string(atom->tag[orphan]) +
                            " is the image of no atom on this rank");
  }
  const double *x = nall ? atom->x[0] : nullptr;
  if (device_graph_) {
    bool renewed = fresh;
    const cgpot::Graph &nodes = builder_->place(atom->type, atom->nlocal, nall, type_map_, ghosts_,
                                                owner_.data(), renewed);
    if (nodes.owned > 0 || exchanger_) {
      try {
        device_graph_->build(x, nall, nodes, builder_->node_of(), cutoff_ + neighbor->skin, renewed);
      } catch (const std::exception &e) {
        error->one(FLERR, std::string("pair_style cgpot: ") + e.what());
      }
    }
    return nodes;
  }
  cgpot::NeighborView view;
  if (own_list_)
    view.range = cutoff_ + neighbor->skin;
  else
    view = {list->inum, list->ilist, list->numneigh, list->firstneigh, NEIGHMASK};
  view.room = nall < atom->nmax;
  return builder_->build(x, atom->type, atom->nlocal, nall, type_map_, view, ghosts_,
                         owner_.data(), reach_, fresh);
}

// Nodes of one rank are ghosts of others: all agree on them again where one has made its own anew.
void PairCGPot::share_homes(const cgpot::Graph &graph)
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
  comm->forward_comm(this, 2);
  const auto owned = static_cast<std::size_t>(graph.owned);
  const auto ghosts = static_cast<std::size_t>(graph.nodes) - owned;
  std::vector<cgpot::Home> homes(ghosts);
  for (std::size_t n = 0; n < ghosts; ++n) {
    const double *home = &homes_[2 * static_cast<std::size_t>(graph.atoms[owned + n])];
    if (builder_->near()[n] && home[1] >= 0.0)
      homes[n] = {static_cast<int>(home[0]), static_cast<int>(home[1])};
  }
  exchanger_->begin(homes, graph.owned);
}

// Whether the spread is evaluated now: the same on all ranks.
bool PairCGPot::spread_due()
{
  const bool due = models_ > 1 &&
      (spread_wanted_ ||
       (options_->spread > 0 && update->ntimestep % options_->spread == 0));
  spread_wanted_ = 0;
  return due;
}

// Evaluates a file; the results of its models are added to `results`.
void PairCGPot::run(std::size_t member, const cgpot::Graph &graph, std::vector<Evaluation> &results)
{
  cgpot::Model &model = *members_[member].model;
  std::size_t first = 0;
  for (std::size_t m = 0; m < member; ++m) first += static_cast<std::size_t>(members_[m].count);
  cgpot::Tally *tallies = &tallies_[first];
  try {
    const auto asked = std::chrono::steady_clock::now();
    const cgpot::Model::Result found = device_graph_
        ? model.evaluate(*device_graph_, exchanger_.get(), tallies)
        : model.evaluate(graph, exchanger_.get());
    if (!update->setupflag) summary_[model_time_entry] += seconds_since(asked);
    for (std::size_t m = 0; m < static_cast<std::size_t>(members_[member].count); ++m) {
      const std::size_t at = m * 3 * graph.padded_edges;
      if (found.gradient) tallies[m].sum(graph, found.gradient + at);
      if (found.single_gradient) tallies[m].sum(graph, found.single_gradient + at);
      results.push_back({found.energies + m * found.rows, tallies + m});
    }
  } catch (const std::exception &e) {
    error->one(FLERR, "model file " + members_[member].path + ": " + e.what());
  }
}

// Energies and forces that drive the beads. All models run where their mean or their spread is
// needed, else the file with the used one.
PairCGPot::Evaluation PairCGPot::evaluate(const cgpot::Graph &graph)
{
  std::vector<Evaluation> results;
  const bool spread = spread_due();
  auto used = static_cast<std::size_t>(options_->use);
  if (used && !spread) {
    std::size_t file = 0;
    while (used > static_cast<std::size_t>(members_[file].count))
      used -= static_cast<std::size_t>(members_[file++].count);
    run(file, graph, results);
    return results[used - 1];
  }
  if (spread)
    for (cgpot::Tally &tally : tallies_) tally.total_virial = true;
  for (std::size_t m = 0; m < members_.size(); ++m) run(m, graph, results);
  if (spread) tally_spread(graph, results);
  if (used) return results[used - 1];
  if (results.size() == 1) return results[0];

  const auto nodes = static_cast<std::size_t>(graph.owned);
  const double weight = 1.0 / static_cast<double>(results.size());
  mean_energies_.assign(nodes, 0.0);
  mean_tally_->atom_virial = vflag_atom || cvflag_atom;
  for (std::size_t m = 0; m < results.size(); ++m) {
    for (std::size_t n = 0; n < nodes; ++n) mean_energies_[n] += weight * results[m].energies[n];
    mean_tally_->add(*results[m].sums, weight, m == 0);
  }
  return {mean_energies_.data(), mean_tally_.get()};
}

// results: of each member, or none on a rank without beads, which only takes part.
void PairCGPot::tally_spread(const cgpot::Graph &graph, const std::vector<Evaluation> &results)
{
  // forces on ghosts go to their owners atom by atom: a ghost that is no node here may be on the
  // way of one that is a node elsewhere
  const auto members = static_cast<std::size_t>(models_);
  const std::size_t stride = 3 * members;
  const auto nall = static_cast<std::size_t>(atom->nlocal + atom->nghost);
  std::vector<double> energies(members, 0.0), traces(members, 0.0);
  member_forces_.assign(nall * stride, 0.0);
  for (std::size_t m = 0; m < results.size(); ++m) {
    const cgpot::Tally &sums = *results[m].sums;
    for (int n = 0; n < graph.nodes; ++n) {
      const auto node = static_cast<std::size_t>(n);
      const auto row = static_cast<std::size_t>(graph.atoms[node]);
      std::copy_n(&sums.forces[3 * node], 3, &member_forces_[row * stride + 3 * m]);
    }
    for (int n = 0; n < graph.owned; ++n) energies[m] += results[m].energies[n];
    const double *w = sums.virial;
    traces[m] = w[0] + w[1] + w[2];
  }
  if (collector_) {
    same_.resize(nall);
    for (std::size_t i = 0; i < nall; ++i) same_[i] = static_cast<int>(i);
    collector_->begin(same_, same_, atom->nlocal);
    collector_->reverse(member_forces_.data(), static_cast<std::int64_t>(nall),
                        static_cast<int>(stride));
  }
  const auto owned = static_cast<std::size_t>(graph.owned);
  std::vector<double> forces(3 * owned);
  spread_->begin(graph.owned);
  for (std::size_t m = 0; m < members; ++m) {
    for (std::size_t n = 0; n < owned; ++n)
      std::copy_n(&member_forces_[static_cast<std::size_t>(graph.atoms[n]) * stride + 3 * m], 3,
                  &forces[3 * n]);
    spread_->add(forces.data(), 3, energies[m], traces[m]);
  }
  spread_->finish([this](double *values, int count) {
    MPI_Allreduce(MPI_IN_PLACE, values, count, MPI_DOUBLE, MPI_SUM, world);
  });
  spread_step_ = update->ntimestep;

  const double force_scale = energy_scale_ * length_scale_;
  const double volume = domain->xprd * domain->yprd * domain->zprd;
  find_largest(graph);
  rms_spread_ = force_scale * spread_->rms;
  if (comm->me == 0) {    // compute pair sums over ranks
    summary_[0] = largest_spread_;
    summary_[1] = rms_spread_;
    summary_[2] = energy_scale_ * spread_->energy;
    summary_[3] = energy_scale_ * spread_->trace / (3.0 * volume) * force->nktv2p;
    summary_[spread_step_entry] = static_cast<double>(spread_step_);
  }
  atom_spread_.assign(std::max<std::size_t>(static_cast<std::size_t>(atom->nmax), 1), 0.0);
  for (std::size_t n = 0; n < owned; ++n)
    atom_spread_[static_cast<std::size_t>(graph.atoms[n])] = force_scale * spread_->beads[n];
}

// The largest spread of all ranks, which bead it is.
void PairCGPot::find_largest(const cgpot::Graph &graph)
{
  struct {
    double value;
    int rank;
  } here{spread_->largest, comm->me}, all;
  const double infinity = std::numeric_limits<double>::infinity();
  if (std::isnan(here.value)) here.value = infinity;
  MPI_Allreduce(&here, &all, 1, MPI_DOUBLE_INT, MPI_MAXLOC, world);
  double found[3] = {std::max(0.0, spread_->largest), 0.0, 0.0};
  if (std::isnan(spread_->largest)) found[0] = spread_->largest;
  if (spread_->largest_node >= 0) {
    const auto node = static_cast<std::size_t>(spread_->largest_node);
    found[1] = static_cast<double>(atom->tag[graph.atoms[node]]);
    found[2] = static_cast<double>(graph.types[node]);
  }
  MPI_Bcast(found, 3, MPI_DOUBLE, all.rank, world);
  largest_spread_ = energy_scale_ * length_scale_ * found[0];
  largest_atom_ = static_cast<tagint>(found[1]);
  largest_type_ = static_cast<int>(found[2]);
}

// All ranks together: they agree on what is too large.
void PairCGPot::act(const cgpot::Graph &graph)
{
  // the first step of a run is the last of the run before; a NaN must not pass
  if (acted_step_ == spread_step_ || largest_spread_ <= options_->threshold) return;
  acted_step_ = spread_step_;
  const std::string unit = per_ev_ == 1.0 ? " eV/Angstrom" : " kcal/mol/Angstrom";
  const std::string message = "cgpot: the models disagree on the force on atom " +
      std::to_string(largest_atom_) + " (" +
      members_[0].sidecar.bead_names[static_cast<std::size_t>(largest_type_)] + ") at step " +
      std::to_string(spread_step_) + ": spread " + number(largest_spread_) + unit +
      ", threshold " + number(options_->threshold);
  if (!options_->dump.empty()) {
    try {
      dump(graph);
    } catch (const std::exception &e) {
      error->one(FLERR, std::string("pair_style cgpot, action dump: ") + e.what());
    }
  }
  if (options_->stop) error->all(FLERR, message);
  if (options_->warn && comm->me == 0) error->warning(FLERR, message);
}

// Rank 0 gathers the beads of all and writes them.
void PairCGPot::dump(const cgpot::Graph &graph) const
{
  constexpr int columns = 7;    // ID, type, molecule, position, spread
  std::vector<double> rows;
  for (int n = 0; n < graph.owned; ++n) {
    const auto node = static_cast<std::size_t>(n);
    const int i = graph.atoms[node];
    const auto id = static_cast<double>(atom->tag[i]);
    const double molecule = atom->molecule_flag ? static_cast<double>(atom->molecule[i]) : 0.0;
    rows.insert(rows.end(), {id, static_cast<double>(graph.types[node]),
                             molecule > 0.0 ? molecule - 1.0 : id - 1.0});
    for (int k = 0; k < 3; ++k) rows.push_back(atom->x[i][k] - domain->boxlo[k]);
    rows.push_back(atom_spread_[static_cast<std::size_t>(i)] / per_ev_);
  }
  const int length = static_cast<int>(rows.size());
  std::vector<int> lengths(static_cast<std::size_t>(comm->nprocs)), starts(lengths.size(), 0);
  MPI_Gather(&length, 1, MPI_INT, lengths.data(), 1, MPI_INT, 0, world);
  std::size_t total = 0;
  for (std::size_t r = 0; comm->me == 0 && r < lengths.size(); ++r) {
    starts[r] = static_cast<int>(total);
    total += static_cast<std::size_t>(lengths[r]);
  }
  std::vector<double> gathered(total);
  MPI_Gatherv(rows.data(), length, MPI_DOUBLE, gathered.data(), lengths.data(), starts.data(),
              MPI_DOUBLE, 0, world);
  if (comm->me != 0) return;

  const bool metal = per_ev_ == 1.0;
  cgpot::Configuration c;
  const double cell[9] = {domain->xprd, 0.0, 0.0, domain->xy, domain->yprd, 0.0,
                          domain->xz, domain->yz, domain->zprd};
  std::copy(cell, cell + 9, c.cell);
  for (int k = 0; k < 3; ++k) c.periodic[k] = domain->periodicity[k] != 0;
  c.type_names = members_[0].sidecar.bead_names;
  c.type_masses = members_[0].sidecar.masses;
  for (std::size_t k = 0; k < total; k += columns) {
    c.ids.push_back(static_cast<std::int64_t>(gathered[k]));
    c.types.push_back(static_cast<int>(gathered[k + 1]));
    c.molecules.push_back(static_cast<std::int64_t>(gathered[k + 2]));
    c.positions.insert(c.positions.end(), &gathered[k + 3], &gathered[k + 3] + 3);
    c.spreads.push_back(gathered[k + 6]);
  }
  c.step = spread_step_;
  c.time = (update->atime + static_cast<double>(spread_step_ - update->atimestep) * update->dt) *
      (metal ? 1.0 : 1e-3);
  c.largest = largest_spread_ / per_ev_;
  c.rms = rms_spread_ / per_ev_;
  cgpot::append_configuration(options_->dump, c);
}

void *PairCGPot::extract(const char *name, int &dim)
{
  dim = 0;
  if (std::strcmp(name, "spread_flag") != 0) return nullptr;
  if (models_ < 2)
    error->all(FLERR, "pair_style cgpot: the spread needs at least two models in pair_coeff");
  return &spread_wanted_;
}

void *PairCGPot::extract_peratom(const char *name, int &columns)
{
  columns = 0;
  if (std::strcmp(name, "spread") != 0) return nullptr;
  const auto length = static_cast<std::size_t>(atom->nmax);
  // values of an earlier step would belong to other atoms: LAMMPS sorts and exchanges them
  if (spread_step_ != update->ntimestep || atom_spread_.size() < length) {
    if (spread_step_ != update->ntimestep && !warned_stale_ && update->whichflag != 0) {
      warned_stale_ = true;
      if (comm->me == 0)
        error->warning(FLERR, "cgpot: the spread was asked for at a step at which it was not "
                              "evaluated and is given as zero: make `fix pair N` a multiple of "
                              "`spread N`, or give its flag as 1");
    }
    atom_spread_.assign(std::max<std::size_t>(length, 1), 0.0);
  }
  return atom_spread_.data();
}

int PairCGPot::pack_forward_comm(int n, int *list, double *buffer, int, int *)
{
  for (int k = 0; k < n; ++k) {
    const double *home = &homes_[2 * static_cast<std::size_t>(list[k])];
    buffer[2 * k] = home[0];
    buffer[2 * k + 1] = home[1];
  }
  return 2 * n;
}

void PairCGPot::unpack_forward_comm(int n, int first, double *buffer)
{
  std::copy_n(buffer, 2 * n, homes_.begin() + 2 * first);
}

int PairCGPot::pack_reverse_comm(int n, int first, double *buffer)
{
  return collector_->pack_reverse(n, first, buffer);
}

void PairCGPot::unpack_reverse_comm(int n, int *list, double *buffer)
{
  collector_->unpack_reverse(n, list, buffer);
}

double PairCGPot::memory_usage()
{
  double bytes = Pair::memory_usage() + static_cast<double>(owner_.capacity() * sizeof(int));
  if (builder_) bytes += static_cast<double>(builder_->bytes());
  std::size_t doubles = mean_energies_.capacity() + atom_spread_.capacity() + member_forces_.capacity();
  for (const cgpot::Tally &tally : tallies_)
    doubles += tally.forces.capacity() + tally.virials.capacity();
  doubles += mean_tally_->forces.capacity() + mean_tally_->virials.capacity();
  return bytes + static_cast<double>(spread_->bytes() + doubles * sizeof(double));
}
