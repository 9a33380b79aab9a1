# make run: set up and run the demo. make test: set up and pass the tests.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
ARGS   ?=

.PHONY: setup run test check acceptance interop fuzz soak bench system clean
setup: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[local,codecs,dev]'
	@touch $@

run: setup
	$(BIN)/active-call demo $(ARGS)

test: setup
	$(BIN)/python -m pytest $(ARGS)

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m tests.layout

# The long end-to-end runs that `make test` takes a part of.
acceptance: setup
	$(BIN)/python -m pytest -m long $(ARGS)

# Every telephone with every transport, codec and encryption; writes docs/interop.md. About 20 minutes.
interop: setup
	$(BIN)/python -m tests.interop $(ARGS)

# Half an hour of broken SIP and SDP.
fuzz: setup
	$(BIN)/python -m tests.fuzz $(ARGS)

# 10,000 simulated networks.
soak: setup
	SIP_SEEDS=10000 $(BIN)/python -m pytest tests/conformance/test_sip_bad_network.py $(ARGS)

bench: setup
	$(BIN)/python -m bench $(ARGS)

# Real peers for the end-to-end tests (Debian, as root): only .ci/run calls this.
system:
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends sip-tester baresip-core sox iproute2 chromium \
		linphone-cli kamailio kamailio-tls-modules nftables openssl libbcg729-0 tshark coturn

clean:
	rm -rf $(VENV) build dist
