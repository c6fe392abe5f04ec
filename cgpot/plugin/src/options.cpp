// SPDX-License-Identifier: GPL-2.0-or-later
#include "options.h"

#include "member.h"

#include <cmath>
#include <cstdlib>
#include <stdexcept>

namespace cgpot {

namespace {

[[noreturn]] void fail(const std::string &what)
{
  throw std::runtime_error("pair_style cgpot: " + what);
}

int whole(const std::string &keyword, const std::string &word, int least)
{
  char *end = nullptr;
  const long value = std::strtol(word.c_str(), &end, 10);
  if (word.empty() || *end || value < least || value > 2000000000)
    fail("keyword '" + keyword + "' takes a whole number of at least " + std::to_string(least) +
         ", found '" + word + "'");
  return static_cast<int>(value);
}

}    // namespace

Options parse_options(const std::vector<std::string> &words)
{
  Options out;
  std::size_t at = 0;
  const auto next = [&](const std::string &keyword) -> const std::string & {
    if (at >= words.size()) fail("keyword '" + keyword + "' needs a value");
    return words[at++];
  };
  while (at < words.size()) {
    const std::string keyword = words[at++];
    if (keyword == "spread") {
      out.spread = whole(keyword, next(keyword), 0);
    } else if (keyword == "ghosts") {
      out.ghosts = next(keyword);
      if (out.ghosts != "auto" && out.ghosts != "exchange" && out.ghosts != "halo")
        fail("keyword 'ghosts' takes auto, exchange or halo, found '" + out.ghosts + "'");
    } else if (keyword == "graph") {
      out.graph = next(keyword);
      if (out.graph != "auto" && out.graph != "host" && out.graph != "device")
        fail("keyword 'graph' takes auto, host or device, found '" + out.graph + "'");
    } else if (keyword == "use") {
      const std::string &word = next(keyword);
      out.use = word == "mean" ? 0 : whole(keyword, word, 1);
    } else if (keyword == "threshold") {
      const std::string &word = next(keyword);
      char *end = nullptr;
      out.threshold = std::strtod(word.c_str(), &end);
      if (*end || !(out.threshold > 0.0) || !std::isfinite(out.threshold))
        fail("keyword 'threshold' takes a positive force, found '" + word + "'");
    } else if (keyword == "action") {
      const std::string &word = next(keyword);
      if (word == "stop")
        out.stop = true;
      else if (word == "warn")
        out.warn = true;
      else if (word == "dump")
        out.dump = next("action dump");
      else
        fail("keyword 'action' takes stop, warn or dump FILE, found '" + word + "'");
    } else if (names_model(keyword)) {
      fail("the model file is named by pair_coeff, found '" + keyword + "'");
    } else {
      fail("unknown keyword '" + keyword + "'; expected spread, use, threshold, action, "
           "ghosts or graph");
    }
  }
  const bool acts = out.stop || out.warn || !out.dump.empty();
  if (out.threshold > 0.0 && out.spread == 0)
    fail("keyword 'threshold' needs `spread N`: the steps at which the spread is evaluated");
  if (acts && out.threshold == 0.0) fail("keyword 'action' needs `threshold X`");
  if (out.threshold > 0.0 && !acts) out.warn = true;
  return out;
}

}    // namespace cgpot
