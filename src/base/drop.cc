// Names of drop reasons.
#include "base/drop.h"

namespace ferry {

const char* drop_name(Drop reason) {
  switch (reason) {
#define FERRY_DROP_NAME(name) \
  case Drop::name: return "drop_" #name;
    FERRY_DROP_REASONS(FERRY_DROP_NAME)
#undef FERRY_DROP_NAME
  }
  return "drop_unknown";
}

}  // namespace ferry
