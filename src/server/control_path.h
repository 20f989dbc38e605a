// The control socket in the file system: refused while a living ferryd answers there, taken over when it is stale.
#pragma once

#include <string>

#include "link/outcome.h"
#include "server/unique_fd.h"

namespace ferry::server {

class ControlPath {
 public:
  // Makes the socket, its directory if need be, and lets every user connect (authority is that of each call).
  static link::Outcome<ControlPath> create(const std::string& path);
  ControlPath(ControlPath&&) = default;
  ControlPath& operator=(ControlPath&&) = default;

  // The listening socket, once.
  UniqueFd take_listener() { return std::move(listener_); }
  // Gives the socket (and the directory, if create() made it) to the user that ferryd becomes, so that it can be removed at the end.
  void hand_over(uid_t uid, gid_t gid) const;
  // Removes it, unless somebody has replaced it meanwhile.
  void remove() const;

 private:
  ControlPath() = default;
  std::string path_;
  std::string made_directory_;
  UniqueFd listener_;
  unsigned long device_ = 0, inode_ = 0;
};

}  // namespace ferry::server
