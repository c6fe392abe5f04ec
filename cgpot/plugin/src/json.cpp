// SPDX-License-Identifier: GPL-2.0-or-later
#include "json.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <stdexcept>

namespace cgpot {

namespace {

constexpr int deepest = 64;

class Parser {
 public:
  explicit Parser(const std::string &text) : text_(text) {}

  Json document()
  {
    Json value = parse_value(0);
    skip();
    if (at_ != text_.size()) fail("something after the end of the document");
    return value;
  }

 private:
  const std::string &text_;
  std::size_t at_ = 0;

  [[noreturn]] void fail(const std::string &what) const
  {
    const auto line = 1 + std::count(text_.begin(), text_.begin() + static_cast<long>(at_), '\n');
    throw std::runtime_error("line " + std::to_string(line) + ": " + what);
  }

  void skip()
  {
    while (at_ < text_.size() && std::strchr(" \t\r\n", text_[at_]) && text_[at_]) ++at_;
  }

  char peek()
  {
    skip();
    if (at_ >= text_.size()) fail("the file ends too early");
    return text_[at_];
  }

  void expect(char c)
  {
    if (peek() != c) fail(std::string("expected '") + c + "', found '" + text_[at_] + "'");
    ++at_;
  }

  bool word(const char *w)
  {
    const std::size_t n = std::strlen(w);
    if (text_.compare(at_, n, w) != 0) return false;
    at_ += n;
    return true;
  }

  Json parse_value(int depth)
  {
    if (depth > deepest) fail("nested too deeply");
    Json value;
    const char c = peek();
    if (c == '{') {
      value.kind = Json::Kind::object;
      ++at_;
      if (peek() == '}') {
        ++at_;
        return value;
      }
      while (true) {
        if (peek() != '"') fail("expected a key in quotes");
        std::string key = parse_string();
        expect(':');
        value.members.emplace_back(std::move(key), parse_value(depth + 1));
        if (peek() == '}') break;
        expect(',');
      }
      ++at_;
    } else if (c == '[') {
      value.kind = Json::Kind::array;
      ++at_;
      if (peek() == ']') {
        ++at_;
        return value;
      }
      while (true) {
        value.items.push_back(parse_value(depth + 1));
        if (peek() == ']') break;
        expect(',');
      }
      ++at_;
    } else if (c == '"') {
      value.kind = Json::Kind::string;
      value.string = parse_string();
    } else if (word("true")) {
      value.kind = Json::Kind::boolean;
      value.boolean = true;
    } else if (word("false")) {
      value.kind = Json::Kind::boolean;
    } else if (!word("null")) {
      value.kind = Json::Kind::number;
      value.number = parse_number();
    }
    return value;
  }

  double parse_number()
  {
    const std::size_t begin = at_;
    while (at_ < text_.size() && std::strchr("+-0123456789.eE", text_[at_]) && text_[at_]) ++at_;
    const std::string token = text_.substr(begin, at_ - begin);
    char *end = nullptr;
    const double number = std::strtod(token.c_str(), &end);
    if (token.empty() || *end) {
      at_ = begin;
      fail(std::string("expected a value, found '") + text_[begin] + "'");
    }
    return number;
  }

  unsigned hexadecimal()
  {
    unsigned code = 0;
    for (int k = 0; k < 4; ++k, ++at_) {
      const char c = at_ < text_.size() ? text_[at_] : '\0';
      if (c >= '0' && c <= '9')
        code = code * 16 + static_cast<unsigned>(c - '0');
      else if ((c | 32) >= 'a' && (c | 32) <= 'f')
        code = code * 16 + static_cast<unsigned>((c | 32) - 'a' + 10);
      else
        fail("expected four hexadecimal digits after \\u");
    }
    return code;
  }

  static void append_utf8(std::string &out, unsigned c)
  {
    if (c < 0x80) {
      out += static_cast<char>(c);
    } else if (c < 0x800) {
      out += static_cast<char>(0xC0 | (c >> 6));
      out += static_cast<char>(0x80 | (c & 0x3F));
    } else if (c < 0x10000) {
      out += static_cast<char>(0xE0 | (c >> 12));
      out += static_cast<char>(0x80 | ((c >> 6) & 0x3F));
      out += static_cast<char>(0x80 | (c & 0x3F));
    } else {
      out += static_cast<char>(0xF0 | (c >> 18));
      out += static_cast<char>(0x80 | ((c >> 12) & 0x3F));
      out += static_cast<char>(0x80 | ((c >> 6) & 0x3F));
      out += static_cast<char>(0x80 | (c & 0x3F));
    }
  }

  std::string parse_string()
  {
    std::string out;
    ++at_;
    while (true) {
      if (at_ >= text_.size()) fail("a string without its closing quote");
      const char c = text_[at_++];
      if (c == '"') return out;
      if (c != '\\') {
        out += c;
        continue;
      }
      const char escaped = at_ < text_.size() ? text_[at_++] : '\0';
      static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
      if (escaped == 'u') {
        unsigned code = hexadecimal();
        if (code >= 0xD800 && code < 0xDC00 && word("\\u"))
          code = 0x10000 + ((code - 0xD800) << 10) + (hexadecimal() - 0xDC00);
        append_utf8(out, code);
      } else if (const char *found = escaped ? std::strchr(from, escaped) : nullptr) {
        out += to[found - from];
      } else {
        fail("an unknown escape in a string");
      }
    }
  }
};

}    // namespace

const Json *Json::find(const std::string &key) const
{
  for (const auto &member : members)
    if (member.first == key) return &member.second;
  return nullptr;
}

const char *Json::kind_name() const
{
  static const char *const names[] = {"null", "true or false", "a number", "a string", "a list",
                                      "an object"};
  return names[static_cast<int>(kind)];
}

Json Json::parse(const std::string &text)
{
  return Parser(text).document();
}

}    // namespace cgpot
