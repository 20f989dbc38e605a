// A page of another process's region that takes the place of one of the program's (Region::adopt): the memory that was sent, itself. Its writer
// leaves it as it is until it is told that it is not mapped here any more.
#pragma once

#include <cstdint>

namespace ferry::client {

class HoldOwner {
 public:
  // The page is not mapped any more. Called with the regions' mutex held: takes no lock but ones that are held for a moment.
  virtual void end_hold(uint64_t hold) = 0;

 protected:
  ~HoldOwner() = default;
};

struct ForeignPage {
  int memfd = -1;              // borrowed
  uint64_t offset = 0;         // of the page, in the memfd
  HoldOwner* owner = nullptr;  // stays for ever
  uint64_t hold = 0;           // what the owner knows it by
};

}  // namespace ferry::client
