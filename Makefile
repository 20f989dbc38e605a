# The few commands that a person types; CMake does the work. Everything is under build/.
#
#   make          build ferry, ferryd, libferry.so            make bench    measure against the kernel (root)
#   make demo     see it work (root)                           make soak     the long tests (root, 1.5 hours)
#   make test     install, build, run every test (root)        make clean    remove build/

JOBS ?= $(shell nproc)
TESTS ?= .
STEPS ?= .
BUILD := build/release

.PHONY: all packages build demo test bench soak install clean
all: build

packages:
	@scripts/install-packages

$(BUILD)/build.ninja:
	@command -v cmake >/dev/null && command -v ninja >/dev/null || \
	  { echo "cmake and ninja are missing: run scripts/install-packages as root" >&2; exit 1; }
	@mkdir -p $(BUILD) && cmake --preset release >$(BUILD)/configure.log 2>&1 || { cat $(BUILD)/configure.log >&2; exit 1; }

build: $(BUILD)/build.ninja
	@cmake --build $(BUILD) -j $(JOBS) --target ferry ferryd ferry_so ferry_emulated_so

demo:
	@scripts/need-root "make demo" && scripts/install-packages
	@$(MAKE) --no-print-directory build
	@exec /usr/bin/python3 -B bench/demo.py --programs $(BUILD)/bin

# Ends with ctest's summary. TESTS=REGEX chooses by name.
test: packages $(BUILD)/build.ninja
	@cmake --build $(BUILD) -j $(JOBS)
	@scripts/run-tests $(BUILD) $(JOBS) "$(TESTS)"

bench:
	@scripts/need-root "make bench" && scripts/install-packages
	@$(MAKE) --no-print-directory build
	@cmake --build $(BUILD) -j $(JOBS) --target ferry_transfer
	@/usr/bin/python3 -B bench/run.py --programs $(BUILD)/bin --json $(BUILD)/bench.json --document docs/performance.md
	@exec /usr/bin/python3 -B bench/passing.py --programs $(BUILD)/bin --json $(BUILD)/passing.json --plots docs/performance

# STEPS=REGEX chooses by name.
soak: packages
	@scripts/need-root "make soak" && scripts/soak "$(STEPS)"

install: build
	@cmake --install $(BUILD)

clean:
	rm -rf build
