# libdss: the front door.
#
#   make             build the library: target/release/libdss.so
#   make demo        build, install into a private folder, run the examples on a SQLite file
#   make test        all that a change can break, in some minutes; the last line counts what passed and failed
#   make prove       what takes longer: checkers, defects that must be noticed, histories, fuzzing, packages
#   make torture     the same questions asked for long, with rising seeds: DSS_TORTURE_MINUTES=30 FIRST_SEED=1
#   make soak        half an hour of work on each store while things break; what grows is told: DSS_SOAK_MINUTES=30
#   make bench       what calls cost, beside hand-written C on the same SQLite or server, and others: tables, CSV, a picture
#   make install     PREFIX=/usr/local BINDIR=$(PREFIX)/bin LIBDIR=$(PREFIX)/lib INCLUDEDIR=$(PREFIX)/include
#                    MANDIR=$(PREFIX)/share/man DATADIR=$(PREFIX)/share DOCDIR=$(DATADIR)/doc/dss DESTDIR=
#   make uninstall   the same variables; folders stay
#   make deb         Debian packages, in target/deb: libdss0, libdss-dev, dss-tools
#   make abi         write down the binary interface that `make prove` holds the library to, in abi/
#   make header      write include/dss.h and the manual pages of section 3 from the sources
#   make fmt lint    set the format of the Rust code; look for what compilers and linters dislike
#   make mutants     the library with switchable defects that `make prove` must notice
#   make clean       remove all that was built
#
# CARGO, CC and STRIP name the programs to use; CARGO_TARGET_DIR builds into another folder than target/.

CARGO ?= cargo
STRIP ?= strip
INSTALL ?= install

PREFIX ?= /usr/local
BINDIR ?= $(PREFIX)/bin
LIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
MANDIR ?= $(PREFIX)/share/man
# Where the shells look for completions.
DATADIR ?= $(PREFIX)/share
DOCDIR ?= $(DATADIR)/doc/dss
DOCS = README.md $(wildcard docs/*) src/store/postgres/schema.sql
CMAKEDIR = $(LIBDIR)/cmake/dss
CMAKE_FILES = dssConfig.cmake dssConfigVersion.cmake
COMPLETIONS = bash-completion/completions/dss zsh/site-functions/_dss fish/vendor_completions.d/dss.fish

# Cargo.toml is the one place that states the version; the major version is the number in the SONAME.
VERSION := $(shell sed -n '/^version = "/{s/.*"\(.*\)".*/\1/p;q}' Cargo.toml)
MAJOR := $(firstword $(subst ., ,$(VERSION)))
SONAME := libdss.so.$(MAJOR)

# The scripts, and what they start, see the same cargo and the same folder. CC is not exported unless the caller did:
# a plain `cargo build` beside `make build` would compile SQLite anew for each change of it.
export CARGO
export CARGO_TARGET_DIR := $(abspath $(or $(CARGO_TARGET_DIR),target))
OUT := $(CARGO_TARGET_DIR)/release
BUILT := $(OUT)/libdss.built
# `make install QUICK=yes` installs what the demo shows.
ifdef QUICK
OUT := $(CARGO_TARGET_DIR)/quick
BUILT := quick
endif

SOURCES := Cargo.toml Cargo.lock $(wildcard build.rs .cargo/config.toml) $(shell find src -type f)

.PHONY: build quick demo test prove model header check-header torture soak bench install uninstall deb abi fmt lint lint-fmt lint-clippy lint-c lint-sh mutants clean help
.DELETE_ON_ERROR:

# Cargo knows best what is out of date, so `make build` always asks it.
build:
	$(CARGO) build --release --locked
	ln -sfn libdss.so $(OUT)/$(SONAME)
	@touch $(BUILT)

# `sudo make install` after `make` must not need root's own cargo: what is up to date is not built again.
$(BUILT): $(SOURCES)
	$(MAKE) build

# The same, built in half the time and with more checks: what the demo and the tests run.
quick:
	$(CARGO) build --profile quick --locked
	ln -sfn libdss.so $(CARGO_TARGET_DIR)/quick/$(SONAME)

demo: quick
	scripts/demo.sh

test:
	@scripts/test.sh

prove:
	@scripts/prove.sh

model:
	scripts/check_model.sh

header:
	$(CARGO) run --quiet --locked --package xtask header

check-header:
	$(CARGO) run --quiet --locked --package xtask check

torture: build quick
	scripts/torture.sh $(FIRST_SEED)

soak: build
	scripts/soak.sh

bench: build
	scripts/bench.sh

# Only the copy is stripped: the library in $(OUT) keeps what a debugger wants to know.
install: $(BUILT)
	$(INSTALL) -d -m 755 "$(DESTDIR)$(LIBDIR)/pkgconfig" "$(DESTDIR)$(INCLUDEDIR)"
	$(INSTALL) -m 755 $(OUT)/libdss.so "$(DESTDIR)$(LIBDIR)/libdss.so.$(VERSION)"
	$(STRIP) --strip-unneeded "$(DESTDIR)$(LIBDIR)/libdss.so.$(VERSION)"
	ln -sfn libdss.so.$(VERSION) "$(DESTDIR)$(LIBDIR)/$(SONAME)"
	ln -sfn $(SONAME) "$(DESTDIR)$(LIBDIR)/libdss.so"
	$(INSTALL) -m 644 include/dss.h "$(DESTDIR)$(INCLUDEDIR)/dss.h"
	@sed $(VALUES) dss.pc.in >$(OUT)/dss.pc
	$(INSTALL) -m 644 $(OUT)/dss.pc "$(DESTDIR)$(LIBDIR)/pkgconfig/dss.pc"
	$(INSTALL) -d -m 755 "$(DESTDIR)$(CMAKEDIR)"
	for file in $(CMAKE_FILES); do \
		sed $(VALUES) "packaging/$$file.in" >"$(OUT)/$$file" && \
		$(INSTALL) -m 644 "$(OUT)/$$file" "$(DESTDIR)$(CMAKEDIR)/$$file" || exit; \
	done
	$(INSTALL) -d -m 755 "$(DESTDIR)$(BINDIR)"
	$(INSTALL) -d -m 755 "$(DESTDIR)$(MANDIR)/man1" "$(DESTDIR)$(MANDIR)/man3" "$(DESTDIR)$(MANDIR)/man7"
	$(INSTALL) -m 755 $(OUT)/dss "$(DESTDIR)$(BINDIR)/dss"
	$(STRIP) --strip-unneeded "$(DESTDIR)$(BINDIR)/dss"
	$(INSTALL) -m 644 man/dss.1 "$(DESTDIR)$(MANDIR)/man1/dss.1"
	$(INSTALL) -m 644 man/*.3 "$(DESTDIR)$(MANDIR)/man3/"
	$(INSTALL) -m 644 man/dss.7 "$(DESTDIR)$(MANDIR)/man7/dss.7"
	$(INSTALL) -d -m 755 "$(DESTDIR)$(DOCDIR)"
	$(INSTALL) -m 644 $(DOCS) "$(DESTDIR)$(DOCDIR)/"
	for file in $(COMPLETIONS); do \
		$(INSTALL) -d -m 755 "$(DESTDIR)$(DATADIR)/$${file%/*}" && \
		$(OUT)/dss completions "$${file%%[/-]*}" >$(OUT)/dss.completions && \
		$(INSTALL) -m 644 $(OUT)/dss.completions "$(DESTDIR)$(DATADIR)/$$file" || exit; \
	done

# Folders below the prefix are named by it, so that pkg-config (--define-prefix) and CMake can move them all.
below_prefix = $(patsubst $(PREFIX)/%,$${prefix}/%,$(1))
VALUES = -e 's|@PREFIX@|$(PREFIX)|' -e 's|@VERSION@|$(VERSION)|' -e 's|@MAJOR@|$(MAJOR)|' -e 's|@SONAME@|$(SONAME)|' \
	-e 's|@LIBDIR@|$(call below_prefix,$(LIBDIR))|' -e 's|@INCLUDEDIR@|$(call below_prefix,$(INCLUDEDIR))|'

uninstall:
	rm -f "$(DESTDIR)$(LIBDIR)/libdss.so" "$(DESTDIR)$(LIBDIR)/$(SONAME)" "$(DESTDIR)$(LIBDIR)/libdss.so.$(VERSION)" \
		"$(DESTDIR)$(INCLUDEDIR)/dss.h" "$(DESTDIR)$(LIBDIR)/pkgconfig/dss.pc" "$(DESTDIR)$(BINDIR)/dss" \
		"$(DESTDIR)$(MANDIR)/man1/dss.1" "$(DESTDIR)$(MANDIR)/man7/dss.7" \
		$(foreach page,$(notdir $(wildcard man/*.3)),"$(DESTDIR)$(MANDIR)/man3/$(page)") \
		$(foreach file,$(notdir $(DOCS)),"$(DESTDIR)$(DOCDIR)/$(file)") \
		$(foreach file,$(CMAKE_FILES),"$(DESTDIR)$(CMAKEDIR)/$(file)") \
		$(foreach file,$(COMPLETIONS),"$(DESTDIR)$(DATADIR)/$(file)")

# Debian's tools leave what they make beside and in the tree, so they get a copy of it. What is built already is not built again.
DEB := $(CARGO_TARGET_DIR)/deb
TREE := $(DEB)/dss-$(VERSION)
deb: $(BUILT)
	@scripts/need.sh dh dpkg-buildpackage
	rm -rf "$(DEB)"
	mkdir -p "$(TREE)"
	tar -c --exclude-vcs --exclude-caches-all --exclude='$(CARGO_TARGET_DIR:$(CURDIR)/%=./%)' . | tar -x -C "$(TREE)"
	cd "$(TREE)" && unset MAKEFLAGS MFLAGS MAKELEVEL && dpkg-buildpackage --build=binary --no-sign --no-check-builddeps
	rm -rf "$(TREE)"
	@ls "$(DEB)"/*.deb

abi:
	@scripts/need.sh abidw gcc
	mkdir -p abi
	scripts/abi.sh >abi/$(SONAME).abi

fmt:
	$(CARGO) fmt --all
	cd fuzz && $(CARGO) fmt --all

lint: lint-fmt lint-clippy lint-c lint-sh

lint-fmt:
	@scripts/need.sh cargo-fmt
	$(CARGO) fmt --all --check
	cd fuzz && $(CARGO) fmt --all --check

# In the profile of the tests, because there SQLite's C code is compiled already.
lint-clippy:
	@scripts/need.sh cargo-clippy
	$(CARGO) clippy --profile quick --locked --workspace --all-targets -- -D warnings

lint-c:
	for file in examples/*.c man/examples/*.c; do \
		$(CC) -std=c99 -O2 -Wall -Wextra -Wpedantic -Wconversion -Werror -Iinclude -c -o /dev/null "$$file" || exit; \
	done

lint-sh:
	@scripts/need.sh shellcheck
	shellcheck scripts/*.sh .ci/run

mutants:
	scripts/mutants.sh

clean:
	$(CARGO) clean
	$(MAKE) -C examples clean

help:
	@sed -n '/^#/!q;s/^# \{0,1\}//p' Makefile
