// The version of ferryd, as told to clients and to people.
#pragma once

namespace ferry::server {
#ifdef FERRY_VERSION
inline constexpr const char* kVersion = FERRY_VERSION;
#else
inline constexpr const char* kVersion = "0.1.0";
#endif
}  // namespace ferry::server
