// SPDX-License-Identifier: GPL-2.0-or-later
// A reader for the JSON (RFC 8259) of a sidecar file.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace cgpot {

struct Json {
  enum class Kind { null, boolean, number, string, array, object };
  Kind kind = Kind::null;
  bool boolean = false;
  double number = 0.0;
  std::string string;
  std::vector<Json> items;
  std::vector<std::pair<std::string, Json>> members;

  // Member of an object, or nullptr.
  const Json *find(const std::string &key) const;
  const char *kind_name() const;

  // Throws std::runtime_error with the line of the first mistake.
  static Json parse(const std::string &text);
};

}    // namespace cgpot
