# Short names for what `cargo xtask` and the binary do.
DATA_DIR ?= /var/lib/fluyt

.PHONY: up down test build bench setup

## A two-node cluster with sample pods, left running
up: build
	FLUYT_BINARY=target/release/fluyt FLUYT_DATA_DIR=$(DATA_DIR) cargo xtask up

## Removes every trace of it
down: build
	target/release/fluyt down --data-dir $(DATA_DIR)

## Sets up what the tests need and runs all of them
test:
	cargo xtask test

## target/release/fluyt
build:
	cargo build --release --package fluyt

## Measures the release binary
bench: build
	target/release/fluyt bench
