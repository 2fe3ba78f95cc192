# The newest Python >= 3.11 that runs and can make environments; a shim that fails does not count.
FIND = for p in python3.14 python3.13 python3.12 python3.11 python3 \
	$${PYENV_ROOT:-$$HOME/.pyenv}/versions/3.1[1-9]*/bin/python3; do \
	  $$p -c 'import sys, venv, ensurepip; sys.version_info >= (3, 11) or sys.exit(1); \
	    print("%d.%02d %s" % (*sys.version_info[:2], sys.executable))' 2>/dev/null; \
	done | sort | tail -n 1 | cut -d " " -f 2-
PYTHON ?= $(shell $(FIND))
VENV ?= .venv
RUN = $(VENV)/bin/python
# Python keeps compiled modules: without them each start of a program takes eight seconds more.
unexport PYTHONDONTWRITEBYTECODE
TESTS ?= tests

.PHONY: demo test slow lint docs clean

demo: $(VENV)/.ready
	$(RUN) launch/demo.py --output=out/demo

test: $(VENV)/.ready
	$(RUN) -m pytest $(TESTS)

slow: $(VENV)/.ready
	$(RUN) -m pytest -m slow $(TESTS)

lint: $(VENV)/.ready
	$(VENV)/bin/ruff check . && $(VENV)/bin/ruff format --check . && $(VENV)/bin/mypy

docs: $(VENV)/.docs-ready
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict --quiet
	@echo "The site is in out/site: open out/site/index.html."

$(VENV)/.docs-ready: $(VENV)/.ready
	$(RUN) -m pip install --quiet --no-compile --disable-pip-version-check --editable '.[docs]'
	@touch $@

$(VENV)/.ready: pyproject.toml
	@test -n "$(PYTHON)" || { echo "error: no working Python >= 3.11 found: install one." >&2; exit 2; }
	@echo "Making the environment $(VENV) with $(PYTHON)"
	"$(PYTHON)" -m venv $(VENV)
	$(RUN) -m pip install --quiet --no-compile --disable-pip-version-check --editable '.[test]'
	@touch $@

clean:
	rm -rf $(VENV) out build dist *.egg-info
