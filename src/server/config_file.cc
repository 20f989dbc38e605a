// The TOML file of ferryd (docs/ferryd.md): one key per setting, the same names as the flags.
#include <fstream>
#include <sstream>
#include <toml++/toml.h>

#include "server/config.h"

namespace ferry::server {
namespace {

using Failure = link::Outcome<Settings>;

const SettingInfo* find_setting(std::string_view name) {
  for (const SettingInfo& s : known_settings())
    if (name == s.name) return &s;
  return nullptr;
}

std::string at(const std::string& path, const toml::source_region& source) {
  return path + ":" + std::to_string(source.begin.line) + ": ";
}

// The value as text; false if it has not the kind of the setting.
bool to_text(const toml::node& node, SettingKind kind, std::vector<std::string>& out) {
  if (kind == SettingKind::flag) {
    auto value = node.value_exact<bool>();
    if (value) out.push_back(*value ? "true" : "false");
    return value.has_value();
  }
  if (kind == SettingKind::number) {
    auto value = node.value_exact<int64_t>();
    if (value) out.push_back(std::to_string(*value));
    return value.has_value();
  }
  if (const toml::array* list = node.as_array(); list != nullptr && kind == SettingKind::list) {
    for (const toml::node& element : *list)
      if (!to_text(element, SettingKind::text, out)) return false;
    return true;
  }
  auto value = node.value_exact<std::string>();
  if (value) out.push_back(*value);
  return value.has_value();
}

const char* name_of(SettingKind kind) {
  switch (kind) {
    case SettingKind::flag: return "true or false";
    case SettingKind::number: return "a whole number";
    case SettingKind::list: return "a string or a list of strings";
    case SettingKind::text: break;
  }
  return "a string";
}

}  // namespace

link::Outcome<Settings> read_config_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  if (!file || !(text << file.rdbuf())) return Failure::failure("the configuration file " + path + " cannot be read");
  toml::table table;
  try {
    table = toml::parse(text.str(), path);
  } catch (const toml::parse_error& e) {
    return Failure::failure(at(path, e.source()) + std::string(e.description()));
  }
  Settings settings;
  for (auto&& [key, node] : table) {
    const SettingInfo* info = find_setting(key.str());
    if (info == nullptr) return Failure::failure(at(path, node.source()) + "there is no setting '" + std::string(key.str()) + "'");
    if (!to_text(node, info->kind, settings[info->name]))
      return Failure::failure(at(path, node.source()) + info->name + " must be " + name_of(info->kind));
  }
  return settings;
}

}  // namespace ferry::server
