// Owns the variables that keep libferry loaded across exec (exec_environment.h). ld.so(8), environ(7).
#include "preload/exec_environment.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <string_view>

#include "client/guarded_copy.h"

namespace ferry::preload {
namespace {

#ifdef __SANITIZE_ADDRESS__
// Sanitizers that are loaded by LD_PRELOAD do not start without their options, and stand behind libferry.
constexpr const char* kVariables[] = {"FERRY_SOCKET", "FERRY_LOG", "FERRY_SCHEME", "ASAN_OPTIONS", "UBSAN_OPTIONS"};
constexpr bool kWithOthers = true;
#else
constexpr const char* kVariables[] = {"FERRY_SOCKET", "FERRY_LOG", "FERRY_SCHEME"};
constexpr bool kWithOthers = false;
#endif
constexpr size_t kVariableCount = sizeof(kVariables) / sizeof(kVariables[0]);

struct Remembered {
  std::string library;
  std::string preload;  // what LD_PRELOAD gets if there is none: the library; with kWithOthers, what this process was started with
  std::string values[kVariableCount];
  bool present[kVariableCount] = {};
};

// Never destroyed: children may be started from destructors.
Remembered& remembered() {
  static auto* r = new Remembered;
  return *r;
}

// Whether LD_PRELOAD's value (separated by spaces or colons) names `library`.
bool names_library(std::string_view value, std::string_view library) {
  while (!value.empty()) {
    size_t end = value.find_first_of(": ");
    if (value.substr(0, end) == library) return true;
    if (end == std::string_view::npos) return false;
    value.remove_prefix(end + 1);
  }
  return false;
}

// The value if `entry` is "name=value", else nullptr.
const char* value_of(const char* entry, const char* name) {
  size_t length = strlen(name);
  return strncmp(entry, name, length) == 0 && entry[length] == '=' ? entry + length + 1 : nullptr;
}

// Whether the start of a string, as far as the names of variables go, can be read.
bool starts(const char* string) {
  constexpr size_t kLongestName = 16;
  if (client::is_readable(string, kLongestName)) return true;
  for (size_t i = 0; i < kLongestName; ++i) {
    if (!client::is_readable(string + i, 1)) return false;
    if (string[i] == '\0') break;
  }
  return true;
}

bool can_be_read(char* const* environment) {
  for (; client::is_readable(environment, sizeof(*environment)); ++environment) {
    if (*environment == nullptr) return true;
    if (!starts(*environment)) return false;
  }
  return false;
}

}  // namespace

void remember_environment(const char* library) {
  Remembered& r = remembered();
  r.library = r.preload = library;
  if (const char* preload = getenv("LD_PRELOAD"); kWithOthers && preload != nullptr && names_library(preload, library)) r.preload = preload;
  for (size_t i = 0; i < kVariableCount; ++i) {
    const char* value = getenv(kVariables[i]);
    r.present[i] = value != nullptr;
    if (value != nullptr) r.values[i] = value;
  }
}

const std::string& library_path() { return remembered().library; }

ChildEnvironment::ChildEnvironment(char* const* original) {
  if (original != nullptr && !can_be_read(original)) {
    bad_ = original;
    return;
  }
  const Remembered& r = remembered();
  bool have_preload = r.library.empty();
  bool have[kVariableCount] = {};
  owned_.reserve(kVariableCount + 1);  // pointers into the strings stay valid
  for (char* const* entry = original; entry != nullptr && *entry != nullptr; ++entry) {
    if (const char* value = value_of(*entry, "LD_PRELOAD"); value != nullptr && !have_preload) {
      have_preload = true;
      if (!names_library(value, r.library)) {
        owned_.push_back("LD_PRELOAD=" + r.library + (*value != '\0' ? ":" : "") + value);
        pointers_.push_back(owned_.back().data());
        restored_ = true;
        continue;
      }
    }
    for (size_t i = 0; i < kVariableCount; ++i) have[i] |= value_of(*entry, kVariables[i]) != nullptr;
    pointers_.push_back(*entry);
  }
  auto append = [this](std::string text) {
    owned_.push_back(std::move(text));
    pointers_.push_back(owned_.back().data());
    restored_ = true;
  };
  if (!have_preload) append("LD_PRELOAD=" + r.preload);
  for (size_t i = 0; i < kVariableCount; ++i)
    if (!have[i] && r.present[i]) append(std::string(kVariables[i]) + "=" + r.values[i]);
  pointers_.push_back(nullptr);
}

void restore_own_environment() {
  const Remembered& r = remembered();
  const char* preload = getenv("LD_PRELOAD");
  if (!r.library.empty() && (preload == nullptr || !names_library(preload, r.library))) {
    const bool others = preload != nullptr && *preload != '\0';
    const std::string value = others ? r.library + ":" + preload : r.preload;
    setenv("LD_PRELOAD", value.c_str(), 1);
  }
  for (size_t i = 0; i < kVariableCount; ++i)
    if (r.present[i]) setenv(kVariables[i], r.values[i].c_str(), 0);
}

}  // namespace ferry::preload
