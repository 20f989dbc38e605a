// Giving up privileges once the links are open: another user, no capabilities, no way to get any back (capabilities(7),
// PR_SET_NO_NEW_PRIVS of prctl(2)).
#pragma once

#include <sys/types.h>

#include <string>

namespace ferry::server {

struct Identity {
  bool change = false;
  uid_t uid = 0;
  gid_t gid = 0;
};

// Looks the names up while that is still possible. Empty on success, else a sentence.
std::string find_identity(const std::string& user, const std::string& group, Identity& identity);
// Becomes `identity` (if asked to) without any capability. Empty on success, else a sentence.
std::string drop_privileges(const Identity& identity);
// As many descriptors as this process may have at all: a socket needs one, its pair another for a moment.
void raise_descriptor_limit();

}  // namespace ferry::server
