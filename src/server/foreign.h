// Protocol servers that are not Ferry's own, by the name they are configured with: "tcp=lwip". docs/protocol-servers.md.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "stack/protocol_server.h"

namespace ferry::server {

// One of them; it outlives the stack that it is installed in.
class ForeignServer {
 public:
  virtual ~ForeignServer() = default;
  virtual stack::ProtocolServer& server() = 0;
};

struct ForeignKind {
  const char* name;      // "tcp=lwip"
  bool replaces_tcp;     // Ferry's own TCP is not installed then
  bool serves_loopback;  // 127.0.0.0/8
  // Null: it cannot be had twice in one process.
  std::unique_ptr<ForeignServer> (*make)();  // null: left out when this ferryd was built
};

const std::vector<ForeignKind>& foreign_kinds();
// nullptr: no such name.
const ForeignKind* find_foreign(const std::string& name);

}  // namespace ferry::server
