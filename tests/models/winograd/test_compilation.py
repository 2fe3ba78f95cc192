"""Building the kernels: once, side by side, and not at all."""

import threading

import pytest

from sde_ct.models.winograd import compilation

compiler = compilation._compiler()
needs_compiler = pytest.mark.skipif(compiler is None, reason="no C++ compiler on this machine")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """How fast the kernels are is no matter here."""
    monkeypatch.setattr(compilation, "FLAGS", ("-O0", *compilation.FLAGS[1:]))


first_start = compilation.ready.__wrapped__  # whose answer is not kept


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Where a first start keeps what it builds."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "sde_ct" / "winograd"


def test_without_a_compiler_it_says_so_and_goes_on(cache, monkeypatch, caplog):
    monkeypatch.setattr(compilation, "_compiler", lambda: None)
    assert not first_start()
    assert "No C++ compiler" in caplog.text


@pytest.mark.parametrize("program", ["false", "true"])
def test_a_compiler_that_does_not_compile(program, cache, monkeypatch, caplog):
    """One that fails, and one that claims to have worked and wrote nothing."""
    monkeypatch.setenv("CXX", program)
    assert not first_start()
    assert "could not be built by" in caplog.text
    assert list(cache.glob("*.part")) == []


def test_a_cache_that_cannot_be_written(cache, caplog):
    cache.parent.mkdir(parents=True)
    cache.write_text("a file where the folder should be")
    assert not first_start()
    assert compiler is None or "could not be built by" in caplog.text


@needs_compiler
def test_several_processes_may_build_at_once(tmp_path):
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(compilation.build(tmp_path, compiler)))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3 and len(set(found)) == 1
    assert [path.name for path in tmp_path.iterdir()] == [found[0].name]
    made = found[0].stat().st_mtime_ns
    assert compilation.build(tmp_path, compiler) == found[0] and found[0].stat().st_mtime_ns == made


@needs_compiler
def test_a_damaged_library_is_built_again(tmp_path):
    """Loading it would kill the process."""
    library = compilation.build(tmp_path, compiler)
    good = library.read_bytes()
    library.write_bytes(good[:1000])
    assert compilation.build(tmp_path, compiler) == library and library.read_bytes() == good


@pytest.mark.slow
@needs_compiler
def test_another_processor_has_a_library_of_its_own(tmp_path, monkeypatch):
    here = compilation.build(tmp_path, compiler)
    monkeypatch.setattr(compilation, "_processor", lambda: "another")
    assert compilation.build(tmp_path, compiler) != here


def test_an_environment_variable_turns_the_kernels_off(monkeypatch):
    monkeypatch.setenv("SDE_CT_WINOGRAD", "0")
    compilation.ready.cache_clear()
    assert not compilation.ready()
    monkeypatch.delenv("SDE_CT_WINOGRAD")
    compilation.ready.cache_clear()
