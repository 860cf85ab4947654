"""The resources of a session: models, datasets, store, device and evaluators, each made once a worker."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import pytest

from pytest_biastransfer.data import as_images, load_dataset
from pytest_biastransfer.errors import BiasTransferError
from pytest_biastransfer.evaluation.device_memory import DeviceMemory, lasting_memory
from pytest_biastransfer.evaluation.devices import resolve_device
from pytest_biastransfer.evaluation.evaluator import Evaluator
from pytest_biastransfer.evaluation.executor import Executor
from pytest_biastransfer.models import as_model
from pytest_biastransfer.models.deferred import model_of_spec
from pytest_biastransfer.names import DATASET_FIXTURE, DEVICE_FIXTURE, FINETUNING_FIXTURE, MODEL_FIXTURE
from pytest_biastransfer.plugin.failures import clear_errors
from pytest_biastransfer.plugin.loaded_models import LoadedModels
from pytest_biastransfer.plugin.runtest.upcoming_tests import upcoming_measurements
from pytest_biastransfer.plugin.runtest.verification import session_canary
from pytest_biastransfer.plugin.scheme_hooks import plugin_loaders
from pytest_biastransfer.plugin.session_store import flushed_by_session, open_store
from pytest_biastransfer.plugin.settings import ini_of
from pytest_biastransfer.plugin.state import (
    DATASETS,
    DATASETS_OF_SPECS,
    DEVICE_MEMORY,
    EVALUATORS,
    EXECUTOR,
    LOADED_MODELS,
    MODELS_OF_SPECS,
    SETTINGS,
    STORE,
)
from pytest_biastransfer.plugin.xdist.resource_sharing import divide_threads
from pytest_biastransfer.plugin.xdist.worker_messages import WORKERS_OF_GPU_INPUT, worker_mailbox
from pytest_biastransfer.plugin.xdist.worker_progress import watcher
from pytest_biastransfer.progress.activities import listening
from pytest_biastransfer.store import Store

if TYPE_CHECKING:
    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.models import Model


def configured_model(request: pytest.FixtureRequest) -> Model:
    """Return the model that the ini file names for the requested fixture."""
    with clear_errors(f"fixture {request.fixturename}"):
        return _model_of_spec(request.config, _configured_spec(request))


def configured_dataset(request: pytest.FixtureRequest) -> LabelledImages:
    """Return the dataset that the ini file names for the requested fixture."""
    with clear_errors(f"fixture {request.fixturename}"):
        return _dataset_of_spec(request.config, _configured_spec(request))


def configured_device(request: pytest.FixtureRequest) -> str:
    """Return the device that the settings name, or the best one of this machine if they name that of a cluster."""
    settings = request.config.stash[SETTINGS]
    with clear_errors("--bias-device"):
        return resolve_device("auto" if settings.uses_ray else settings.device, session_store(request.config).facts)


def model_of(config: pytest.Config, fixture_value: object, origin: str) -> Model:
    """Return what a fixture returned as a model; it may be a spec string."""
    if not isinstance(fixture_value, str):
        model = as_model(fixture_value, origin)
        loaded_models(config).note_object(fixture_value, model, origin)
        return model
    with clear_errors(origin):
        return _model_of_spec(config, fixture_value)


def images_of(config: pytest.Config, fixture_value: object, origin: str) -> LabelledImages:
    """Return what a fixture returned as images, the same ones each time: their fingerprint costs a pass.

    It may be a spec string. A fixture with parameters may return the same object with other images in it.
    """
    if isinstance(fixture_value, str):
        with clear_errors(origin):
            return _dataset_of_spec(config, fixture_value)
    datasets = config.stash.setdefault(DATASETS, {})
    identity = id(fixture_value)
    if identity not in datasets or not datasets[identity][1].looks_unchanged():
        # The object is kept with its images: another one could get its identity otherwise.
        datasets[identity] = (fixture_value, as_images(fixture_value, origin))
    return datasets[identity][1]


def preprocessing_remark(model: Model, fixture: str) -> str:
    """Return what is to be said of a model that nobody declared a preprocessing for; empty where one is declared."""
    undeclared = model.preprocess.undeclared
    if not undeclared:
        return ""
    *others, last = undeclared
    names = f"{', '.join(others)} and {last}" if others else last
    return (
        f"preprocessing of {model.name} ({fixture}): no {names} declared, it gets pixels from 0 to 1. Add what it was "
        f"trained with to its spec, such as &size=224&mean=...&std=..., or return Model(module, "
        f"preprocess=Preprocess(size=224, mean=..., std=...)); mean=0 and std=1 say that there was none"
    )


def loaded_models(config: pytest.Config) -> LoadedModels:
    """Return what is to be said of the models that this process has loaded."""
    if LOADED_MODELS not in config.stash:
        config.stash[LOADED_MODELS] = LoadedModels(session_store(config).facts)
    return config.stash[LOADED_MODELS]


def session_store(config: pytest.Config) -> Store:
    """Return the session's store."""
    if STORE not in config.stash:
        config.stash[STORE] = open_store(config)
        flushed_by_session(config, config.stash[STORE])
    return config.stash[STORE]


def evaluator_of(request: pytest.FixtureRequest, images: int | None = None) -> Evaluator:
    """Return the session's evaluator of all images, or of the first `images`: tests share what it has computed."""
    config, device = request.config, str(request.getfixturevalue(DEVICE_FIXTURE))
    settings = config.stash[SETTINGS]
    max_images = min((count for count in (images, settings.max_images) if count is not None), default=None)
    evaluators = config.stash.setdefault(EVALUATORS, {})
    if (device, max_images) not in evaluators:
        with clear_errors(request.node.nodeid):
            evaluators[device, max_images] = Evaluator(
                device,
                session_store(config),
                batch_size=settings.batch_size,
                max_images=max_images,
                order_seed=settings.order_seed,
                precision=settings.precision,
                compiled=settings.compiled,
                pixel_cache=settings.pixel_cache,
                share_across_devices=settings.share_across_devices,
                device_memory=_device_memory(config, device),
                upcoming=functools.partial(upcoming_measurements, config),
                prepare=divide_threads,
                on_progress=watcher(config),
                canary=session_canary(config),
                executor=_executor(config),
            )
    return evaluators[device, max_images]


def _executor(config: pytest.Config) -> Executor | None:
    """Return the session's executor: that of the setting, or of a hook; None for this process."""
    if EXECUTOR not in config.stash:
        settings = config.stash[SETTINGS]
        executor: Executor | None = None
        if settings.executor != "local":
            executor = config.hook.pytest_bias_executor(config=config)
        if not isinstance(executor, Executor | None):
            raise BiasTransferError(
                f"hook pytest_bias_executor: returned {type(executor).__name__}, expected an executor; for a pool, "
                f"type return PoolExecutor(pool)"
            )
        if settings.uses_ray:
            if executor is not None:
                raise BiasTransferError(
                    f"--bias-executor={settings.executor} and the hook pytest_bias_executor: both name an executor; "
                    f"remove one of them, or type --bias-executor=local to use neither"
                )
            executor = _ray_executor(config)
        config.stash[EXECUTOR] = executor
        if executor is not None:
            config.add_cleanup(executor.close)
    return config.stash[EXECUTOR]


def _ray_executor(config: pytest.Config) -> Executor:
    from pytest_biastransfer.evaluation.ray_executor import RayExecutor

    settings, mailbox = config.stash[SETTINGS], worker_mailbox(config)
    return RayExecutor(
        None if settings.executor == "ray" else settings.executor,
        device=settings.device,
        drivers=getattr(config, "workerinput", {}).get("workercount", 1),
        directory=None if mailbox is None else mailbox[0].directory,
        root=config.rootpath,
        picture_formats=config.getini("bias_picture_formats"),
        facts=session_store(config).facts,
    )


def _device_memory(config: pytest.Config, device: str) -> DeviceMemory:
    """Return what stays on a device, for all evaluators of the session."""
    memories, limit = config.stash.setdefault(DEVICE_MEMORY, {}), config.stash[SETTINGS].device_cache
    if device not in memories:
        workers = getattr(config, "workerinput", {}).get(WORKERS_OF_GPU_INPUT, 1)
        memories[device] = lasting_memory(device, limit, workers)
    return memories[device]


def give_models_back(config: pytest.Config) -> None:
    """Move the models that stay on a device back to where they came from: code of the user may use them now."""
    for memory in config.stash.get(DEVICE_MEMORY, {}).values():
        memory.models.give_back()


def _model_of_spec(config: pytest.Config, spec: str) -> Model:
    models = config.stash.setdefault(MODELS_OF_SPECS, {})
    if spec not in models:
        directory, facts = config.stash[SETTINGS].directory, session_store(config).facts
        loaded, plugins = loaded_models(config), plugin_loaders(config).models
        with listening(watcher(config)):
            models[spec] = model_of_spec(spec, directory, facts, plugins, functools.partial(loaded.note_spec, spec))
        loaded.add_own(models[spec])
    return models[spec]


def _dataset_of_spec(config: pytest.Config, spec: str) -> LabelledImages:
    datasets = config.stash.setdefault(DATASETS_OF_SPECS, {})
    # The dataset of one's own code may be changed meanwhile.
    if spec not in datasets or not datasets[spec].looks_unchanged():
        directory, facts = config.stash[SETTINGS].directory, session_store(config).facts
        plugins = plugin_loaders(config).datasets
        with listening(watcher(config)):
            datasets[spec] = load_dataset(spec, directory=directory, facts=facts, plugins=plugins)
    return datasets[spec]


def _configured_spec(request: pytest.FixtureRequest) -> str:
    name = str(request.fixturename)
    spec = request.config.stash[SETTINGS].specs.get(name)
    if spec is not None:
        return spec
    ini, example = (
        ini_of(name),
        "imagefolder:data/val" if name in (DATASET_FIXTURE, FINETUNING_FIXTURE) else "checkpoint:model.pt?arch=...",
    )
    made = "\nor have it made from source_model, by bias_transfer = fixed-feature" if name == MODEL_FIXTURE else ""
    raise BiasTransferError(
        f"not configured. Write a fixture of that name in conftest.py:\n"
        f'    @pytest.fixture(scope="session")\n    def {name}(): ...\n'
        f"or a line in the pytest section of the ini file:\n    {ini} = {example}{made}"
    )
