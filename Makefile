# SPDX-License-Identifier: MIT
# Short words for the fingers; Meson does the work. `make` builds, `make check` tests everything.
PREFIX ?= /usr/local
FUZZ_SECONDS ?= 30
BENCH ?= --secs 2 --reps 3
MINUTES ?= 5
SOAK ?=
CHAOS ?=

all: build/build.ninja
	ninja -C build
build/build.ninja:
	@tools/install-deps build
	meson setup build -Dprefix=$(PREFIX)
run: build/build.ninja
	@tools/run
check:
	@tools/install-deps test
	tools/check
install: all
	meson configure build -Dprefix=$(PREFIX)
	meson install -C build
asan:
	@tools/install-deps test
	tools/check asan unit wire-asan
tsan:
	@tools/install-deps test
	tools/check tsan unit-tsan workers
fuzz:
	@tools/install-deps test
	tools/fuzz $(FUZZ_SECONDS)
bench: all
	@tools/install-deps bench
	bench/run $(BENCH)
# exit status 0 only if all holds; the report is in build/soak.md, too
soak: all
	bench/soak --minutes $(MINUTES) --report build/soak.md $(SOAK)
# every protocol at once, good and bad clients and parents, reloads; --refuse 500: and memory that is refused
chaos: all
	bench/chaos --minutes $(MINUTES) $(CHAOS)
# how connections end through ginnel and its peers: the tables of doc/exactness.md and doc/exactness-legs.md
exact: all
	@tools/install-deps bench test
	bench/exact
	bench/exact-legs
# the Debian package of HEAD, in build-deb/; then its life in clean roots, under systemd, and the container (as root, minutes)
deb:
	@tools/install-deps deb
	tools/deb
check-deb: deb
	tests/package/run
	tests/package/service
	tests/package/container
format:
	@tools/install-deps test
	clang-format -i $$(git ls-files '*.c' '*.h')
lint:
	@tools/install-deps test
	tools/check floors rooms asan
clean:
	rm -rf build build-*
.PHONY: all run check install asan tsan fuzz bench soak chaos exact deb check-deb format lint clean
