"""Manifests: what they mean, and how each mistake in one is answered."""

from __future__ import annotations

import math
import tomllib
from pathlib import Path

import pytest

from zoo_core.errors import CardError, OptionError
from zoo_core.manifest.cards import (
    CheckpointRule,
    CommandCard,
    EmbeddedWeights,
    HubWeights,
    Manifest,
    ModelCard,
    Option,
    TrainerCard,
    WeightsFile,
)
from zoo_core.manifest.reader import read_manifest

COMMIT = "0123456789" * 4
SHA256 = "0123456789abcdef" * 4

PLUGIN = """\
schema = 1
[plugin]
name = "zoo-dcgan"
summary = "DCGAN faces"
"""

MODEL_WITHOUT_WEIGHTS = """\
[[model]]
id = "dcgan-faces"
summary = "64×64 faces"
family = "gan"
output = "image"
license = "mit"
"""

MODEL = MODEL_WITHOUT_WEIGHTS + 'weights = { embedded = "weights" }\n'

TRUNCATION = """\
[model.options.truncation]
type = "number"
default = 1.0
minimum = 0.0
"""

RULE = """\
[[checkpoint]]
summary = "DCGAN"
family = "gan"
output = "image"
config = "config.json"
where = { architecture = "dcgan" }
weights = "model"
"""

TRAINER = """\
[[trainer]]
name = "dcgan"
summary = "A DCGAN"
data = "image"
"""

COMMAND = """\
[[command]]
name = "mix-faces"
help = "Mix two faces"
target = "zoo_dcgan.mix:command"
"""


def read(text: str, folder: Path | None = Path("/site/zoo_dcgan")) -> Manifest:
    return read_manifest(tomllib.loads(text), "zoo.toml", folder)


def read_model(text: str) -> ModelCard:
    (card,) = read(PLUGIN + text).models
    return card


# --- What a manifest means ---------------------------------------------------------------------------------


def test_a_model_needs_little() -> None:
    assert read_model(MODEL) == ModelCard(
        id="dcgan-faces",
        plugin="zoo-dcgan",
        summary="64×64 faces",
        family="gan",
        output="image",
        license="mit",
        weights=EmbeddedWeights(Path("/site/zoo_dcgan/weights")),
    )


def test_everything_a_model_can_say_is_kept() -> None:
    card = read_model(
        MODEL_WITHOUT_WEIGHTS
        + f"""\
        aliases = ["someone/dcgan-faces"]
        paper = "arXiv:1511.06434"
        cite = "@article{{radford2015}}"
        homepage = "https://example.org"
        parameters = 3500000
        prompt = "optional"
        capabilities = ["score", "latents"]
        training = {{ data = "CelebA", steps = "20,000" }}
        quality = ["FID 12.0 over 50,000 samples"]
        [model.weights]
        repo = "someone/dcgan-faces"
        revision = "{COMMIT}"
        files = ["config.json", {{ name = "model.safetensors", bytes = 14, sha256 = "{SHA256}" }}]
        """
    )
    assert card == ModelCard(
        id="dcgan-faces",
        plugin="zoo-dcgan",
        summary="64×64 faces",
        family="gan",
        output="image",
        license="mit",
        weights=HubWeights(
            "someone/dcgan-faces",
            COMMIT,
            (WeightsFile("config.json"), WeightsFile("model.safetensors", 14, SHA256)),
        ),
        aliases=("someone/dcgan-faces",),
        paper="arXiv:1511.06434",
        cite="@article{radford2015}",
        homepage="https://example.org",
        parameters=3_500_000,
        prompt="optional",
        capabilities=("score", "latents"),
        training={"data": "CelebA", "steps": "20,000"},
        quality=("FID 12.0 over 50,000 samples",),
    )


def test_a_model_may_say_with_what_it_is_checked() -> None:
    (card,) = read(PLUGIN + MODEL + "check = { truncation = 1, prompt = 'A face.' }\n" + TRUNCATION).models
    assert card.check == {"truncation": 1.0, "prompt": "A face."}


def test_a_model_may_add_to_the_common_options_and_change_them_key_by_key() -> None:
    common = """\
    [options.steps]
    type = "integer"
    default = 50
    minimum = 1
    maximum = 1000
    description = "Network evaluations."
    """
    card = read_model(common + MODEL + TRUNCATION + "[model.options.steps]\ndefault = 20\n")
    assert card.options == {
        "steps": Option("steps", "integer", "Network evaluations.", 20, 1, 1000),
        "truncation": Option("truncation", "number", "", 1.0, 0.0),
    }


def test_an_option_may_be_the_path_of_a_file() -> None:
    options = "[options.input]\ntype = 'string'\nformat = 'file'\n"
    card = read_model(options + MODEL + "[model.options.input]\ndescription = 'An image.'\n")
    assert card.options["input"] == Option("input", "string", "An image.", format="file")
    with pytest.raises(CardError, match="format"):
        read(PLUGIN + MODEL + options.replace("'string'", "'integer'"))


def test_rules_trainers_and_commands_are_read() -> None:
    manifest = read(PLUGIN + RULE + TRAINER + "[trainer.options.width]\ntype = 'integer'\n" + COMMAND)
    assert manifest.checkpoints == (
        CheckpointRule(
            plugin="zoo-dcgan",
            summary="DCGAN",
            family="gan",
            output="image",
            config="config.json",
            where={"architecture": ("dcgan",)},
            files=(),
            weights=("model",),
        ),
    )
    width = Option("width", "integer")
    assert manifest.trainers == (TrainerCard("dcgan", "zoo-dcgan", "A DCGAN", "image", {"width": width}),)
    assert manifest.commands == (
        CommandCard("mix-faces", "zoo-dcgan", "Mix two faces", "zoo_dcgan.mix:command"),
    )


def test_a_trainer_may_say_that_it_changes_another_model() -> None:
    base = "[trainer.options.base]\ntype = 'string'\n"
    (trainer,) = read(PLUGIN + TRAINER + "adapts = 'lora'\n" + base).trainers
    assert trainer.adapts == "lora"
    with pytest.raises(CardError, match="adapts: expected an option base beside it"):
        read(PLUGIN + TRAINER + "adapts = 'lora'\n")


def test_a_plugin_may_say_that_it_lists_models_by_code() -> None:
    assert read(PLUGIN).lists_models is False
    assert read(PLUGIN + "lists_models = true").lists_models is True


def test_a_plugin_may_say_which_short_types_it_knows() -> None:
    assert read(PLUGIN).quantized == ()
    assert read(PLUGIN + 'quantized = ["int8"]').quantized == ("int8",)


def test_a_rule_matches_when_every_key_has_its_value() -> None:
    (rule,) = read(PLUGIN + RULE).checkpoints
    assert rule.matches({"architecture": "dcgan", "width": 64})
    assert not rule.matches({"architecture": "stylegan"})
    assert not rule.matches({})


def test_a_rule_may_list_values_and_names_of_weights() -> None:
    text = RULE.replace('"dcgan" }', '["dcgan", "wgan"] }').replace('"model"', '["model", "pytorch_model"]')
    (rule,) = read(PLUGIN + text).checkpoints
    assert rule.matches({"architecture": "dcgan"})
    assert rule.matches({"architecture": "wgan"})
    assert not rule.matches({"architecture": ["dcgan", "wgan"]})
    assert rule.weights == ("model", "pytorch_model")


def test_a_model_or_rule_has_the_options_of_the_set_it_names() -> None:
    sets = """\
        [options.truncation]
        type = "number"
        [option_sets.drawn.truncation]
        default = 0.5
        [option_sets.drawn.steps]
        type = "integer"
        """
    named = 'option_set = "drawn"\n'
    manifest = read(PLUGIN + sets + MODEL + named + RULE + named)
    drawn = {"truncation": Option("truncation", "number", "", 0.5), "steps": Option("steps", "integer")}
    assert manifest.models[0].options == manifest.checkpoints[0].options == drawn
    plain = read(PLUGIN + sets + MODEL + RULE)
    assert set(plain.models[0].options) == set(plain.checkpoints[0].options) == {"truncation"}


def test_models_may_share_a_set_of_options_and_override_it() -> None:
    sets = "[shared]\noption_set = 'drawn'\n[option_sets.drawn.steps]\ntype = 'integer'\n"
    (card,) = read(PLUGIN + sets + MODEL + "[model.options.steps]\ndefault = 3").models
    assert card.options == {"steps": Option("steps", "integer", default=3)}


def test_embedded_weights_of_a_plugin_that_is_not_installed_have_a_relative_folder() -> None:
    (card,) = read(PLUGIN + MODEL, folder=None).models
    assert card.weights == EmbeddedWeights(Path("weights"))


# --- How mistakes are answered -----------------------------------------------------------------------------

IN_MODEL = "[model dcgan-faces]"
IN_WEIGHTS = "[model dcgan-faces.weights]"
IN_OPTION = "[model dcgan-faces.options.truncation]"

HUB = MODEL_WITHOUT_WEIGHTS + 'weights = { repo = "a/b", files = ["m.safetensors"] }\n'

MISTAKES = [
    # The file as a whole.
    ("", "schema: expected the number 1; the key is missing"),
    ("schema = 0", "schema: expected the number 1, not 0"),
    ("schema = '1'", "schema: expected the number 1, not '1'"),
    ("schema = true", "schema: expected the number 1, not True"),
    ("schema = 1", "plugin: expected a table; the key is missing"),
    ("schema = 1\nplugin = 'zoo-dcgan'", "plugin: expected a table, not 'zoo-dcgan'"),
    ("schema = 1\n[plugin]", "[plugin] name: expected lower-case letters, digits, dots, dashes; the"),
    ("schema = 1\n[plugin]\nname = 'DCGAN'", "[plugin] name: expected lower-case letters, digits, dots"),
    ("schema = 1\n[plugin]\nname = 'x'", "[plugin] summary: expected text; the key is missing"),
    ("schema = 1\n[plugin]\nname = 'x'\nsummary = ' '", "[plugin] summary: expected text, not ' '"),
    (PLUGIN + "license = 'mit'", "[plugin] license: expected no such key"),
    (PLUGIN + 'quantized = ["int3"]', "[plugin] quantized: expected some of int8, int4, not 'int3'"),
    (PLUGIN + "lists_models = 1", "[plugin] lists_models: expected true or false, not 1"),
    (PLUGIN + "homepage = 3", "[plugin] homepage: expected an address https://…, not 3"),
    (PLUGIN + "[[modell]]", "modell: expected no such key; did you mean 'model'?"),
    (PLUGIN + "[model]", "model: expected tables written [[model]]"),
    (PLUGIN + MODEL + MODEL, "model: expected different names; 'dcgan-faces' occurs twice"),
    (
        PLUGIN + MODEL + "aliases = ['dcgan-faces']",
        "model: expected different names; 'dcgan-faces' occurs twice",
    ),
    (PLUGIN + TRAINER + TRAINER, "trainer: expected different names; 'dcgan' occurs twice"),
    (PLUGIN + COMMAND + COMMAND, "command: expected different names; 'mix-faces' occurs twice"),
    # A model.
    (PLUGIN + "[[model]]", "[model 1] id: expected lower-case letters, digits, dots, dashes; the"),
    (
        PLUGIN + "[[model]]\nid = 'a b'",
        "[model a b] id: expected lower-case letters, digits, dots",
    ),
    (PLUGIN + "[[model]]\nid = 'a'", "[model a] summary: expected text; the key is missing"),
    (PLUGIN + MODEL.replace('"gan"', "7"), f"{IN_MODEL} family: expected text, not 7"),
    (
        PLUGIN + MODEL.replace('output = "image"', ""),
        f"{IN_MODEL} output: expected one of image, text, audio, video, points, table; the key",
    ),
    (PLUGIN + MODEL.replace("license", "licence"), f"{IN_MODEL} license: expected text; the key is missing"),
    (PLUGIN + MODEL + "aliases = 'faces'", f"{IN_MODEL} aliases: expected a list of names such as"),
    (PLUGIN + MODEL + "parameters = -1", f"{IN_MODEL} parameters: expected a whole number, not -1"),
    (PLUGIN + MODEL + "parameters = 1.5", f"{IN_MODEL} parameters: expected a whole number, not 1.5"),
    (
        PLUGIN + MODEL.replace('output = "image"', 'output = "smell"'),
        f"{IN_MODEL} output: expected one of image, text, audio, video, points, table, not 'smell'.",
    ),
    (PLUGIN + MODEL + "prompt = true", f"{IN_MODEL} prompt: expected one of none, optional, required,"),
    (PLUGIN + MODEL + "capabilities = ['fly']", f"{IN_MODEL} capabilities: expected some of score, latents,"),
    (PLUGIN + MODEL + "training = 'yes'", f"{IN_MODEL} training: expected a table of texts, not 'yes'"),
    (PLUGIN + MODEL + "quality = [1]", f"{IN_MODEL} quality: expected a list of texts, not [1]"),
    (PLUGIN + MODEL + "papper = 'x'", f"{IN_MODEL} papper: expected no such key; did you mean 'paper'?"),
    # Its weights.
    (PLUGIN + MODEL_WITHOUT_WEIGHTS, f"{IN_MODEL} weights: expected a table; the key is missing"),
    (PLUGIN + MODEL.replace('"weights"', '"/etc"'), f"{IN_WEIGHTS} embedded: expected a folder inside"),
    (PLUGIN + MODEL.replace('"weights"', '"../x"'), f"{IN_WEIGHTS} embedded: expected a folder inside"),
    (
        PLUGIN + MODEL.replace("embedded", "repo = 'a/b', embedded"),
        f"{IN_WEIGHTS} repo: expected no such key",
    ),
    (PLUGIN + MODEL.replace("embedded", "repo"), f"{IN_WEIGHTS} files: expected a list of files;"),
    (PLUGIN + HUB.replace("a/b", "a/b/c"), f"{IN_WEIGHTS} repo: expected ORG/NAME, or embedded"),
    (
        PLUGIN + HUB.replace("repo", "revision = 'main', repo"),
        f"{IN_WEIGHTS} revision: expected a commit:",
    ),
    (PLUGIN + HUB.replace('"m.safetensors"', ""), f"{IN_WEIGHTS} files: expected at least one file"),
    (PLUGIN + HUB.replace('"m.safetensors"', "3"), f"{IN_WEIGHTS} files: expected names, or tables"),
    (
        PLUGIN + HUB.replace('"m.safetensors"', '"../m.safetensors"'),
        "[model dcgan-faces.weights.files] name: expected a path inside the repository",
    ),
    (
        PLUGIN + HUB.replace('"m.safetensors"', "{ name = 'm', bytes = '3' }"),
        "[model dcgan-faces.weights.files] bytes: expected a whole number, not '3'",
    ),
    (
        PLUGIN + HUB.replace('"m.safetensors"', "{ name = 'm', sha256 = 'abc' }"),
        "[model dcgan-faces.weights.files] sha256: expected 64 hexadecimal digits",
    ),
    # Its options.
    (PLUGIN + MODEL + "options = 3", f"{IN_MODEL} options: expected a table, not 3"),
    (
        PLUGIN + MODEL + "[model.options]\nsteps = 3",
        "[model dcgan-faces.options] steps: expected a table,",
    ),
    (
        PLUGIN + MODEL + "[model.options.Top-K]\ntype = 'integer'",
        "[model dcgan-faces.options] Top-K: expected a name of lower-case letters, digits and underscores",
    ),
    (
        PLUGIN + MODEL + "[model.options.truncation]",
        f"{IN_OPTION} type: expected one of string,",
    ),
    (
        PLUGIN + MODEL + TRUNCATION.replace("number", "float"),
        f"{IN_OPTION} type: expected one of string,",
    ),
    (
        PLUGIN + MODEL + TRUNCATION.replace("1.0", "-1"),
        f"{IN_OPTION} default: expected a number of at least 0",
    ),
    (
        PLUGIN + MODEL + TRUNCATION.replace("1.0", "'1'"),
        f"{IN_OPTION} default: expected a number of at least",
    ),
    (PLUGIN + MODEL + TRUNCATION + "maximum = '2'", f"{IN_OPTION} maximum: expected a number, not '2'"),
    (PLUGIN + MODEL + TRUNCATION + "maximum = nan", f"{IN_OPTION} maximum: expected a number, not nan"),
    (PLUGIN + MODEL + TRUNCATION + "maximum = -1", f"{IN_OPTION} maximum: expected a number of at least"),
    (
        PLUGIN + MODEL + TRUNCATION + "per_sample = 1",
        f"{IN_OPTION} per_sample: expected true or false, not 1",
    ),
    (
        PLUGIN + MODEL + TRUNCATION + "enum = [1, 2]",
        f"{IN_OPTION} enum: expected a list of texts, not [1, 2]",
    ),
    (PLUGIN + MODEL + TRUNCATION + "enum = ['a']", f'{IN_OPTION} enum: expected type = "string" beside it'),
    (PLUGIN + MODEL + TRUNCATION + "help = 'x'", f"{IN_OPTION} help: expected no such key"),
    (
        PLUGIN + MODEL + "[model.options.name]\ntype = 'string'\nminimum = 1",
        '[model dcgan-faces.options.name] minimum: expected type = "integer" or "number" beside it',
    ),
    # The other tables.
    (
        PLUGIN + RULE.replace("where", "# where"),
        "[checkpoint 1] where: expected at least one key",
    ),
    (
        PLUGIN + RULE.replace('{ architecture = "dcgan" }', "{ }"),
        "[checkpoint 1] where: expected at least one key with",
    ),
    (
        PLUGIN + RULE.replace('"dcgan" }', "3 }"),
        "[checkpoint 1.where] architecture: expected a text or a list of texts, not 3",
    ),
    (
        PLUGIN + RULE.replace('"model"', "[]"),
        "[checkpoint 1] weights: expected a path, or a list of paths, inside the checkpoint",
    ),
    (
        PLUGIN + RULE + "option_set = 'words'\n[option_sets.text.steps]\ntype = 'integer'",
        "[checkpoint 1] option_set: expected the name of a table [option_sets.NAME], not 'words'",
    ),
    (
        PLUGIN + MODEL + "check = { stepz = 2 }",
        "[model dcgan-faces.check] stepz: expected no such key",
    ),
    (
        PLUGIN + MODEL + "check = { truncation = -1 }\n" + TRUNCATION,
        "[model dcgan-faces.check] truncation: expected a number of at least 0",
    ),
    (PLUGIN + RULE + "revision = 'x'", "[checkpoint 1] revision: expected no such key"),
    (
        PLUGIN + TRAINER.replace('data = "image"', ""),
        "[trainer dcgan] data: expected text; the key",
    ),
    (
        PLUGIN + COMMAND.replace(":command", ""),
        "[command mix-faces] target: expected module:attribute, not",
    ),
]


@pytest.mark.parametrize(("text", "answer"), MISTAKES, ids=[answer for _, answer in MISTAKES])
def test_a_mistake_is_answered_with_file_table_key_and_what_was_expected(text: str, answer: str) -> None:
    with pytest.raises(CardError) as caught:
        read(text)
    assert caught.value.message.startswith(f"zoo.toml: {answer}")
    assert "\n" not in caught.value.message
    assert caught.value.remedy == "Correct that file."


# --- Options -----------------------------------------------------------------------------------------------

STEPS = Option("steps", "integer", minimum=1, maximum=1000)
SCALE = Option("guidance_scale", "number", minimum=0)
SAMPLER = Option("sampler", "string", enum=("ddpm", "ddim"))
CLIP = Option("clip", "boolean")
LABEL = Option("label", "integer", minimum=0, maximum=9, per_sample=True)
NAME = Option("name", "string")


def test_the_flag_of_an_option_has_dashes() -> None:
    assert SCALE.flag == "--guidance-scale"


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (STEPS, "an integer from 1 to 1000"),
        (SCALE, "a number of at least 0"),
        (Option("x", "number", maximum=0.5), "a number of at most 0.5"),
        (SAMPLER, "one of ddpm, ddim"),
        (CLIP, "a boolean"),
        (Option("x", "integer"), "an integer"),
    ],
)
def test_an_option_says_in_words_what_it_expects(option: Option, words: str) -> None:
    assert option.expects == words


@pytest.mark.parametrize(
    ("option", "given", "value"),
    [
        (STEPS, 1, 1),
        (STEPS, 1000, 1000),
        (STEPS, None, None),
        (SCALE, 3, 3.0),
        (SCALE, 7.5, 7.5),
        (SAMPLER, "ddim", "ddim"),
        (CLIP, False, False),
        (NAME, "", ""),
        (LABEL, 7, 7),
        (LABEL, [0, 2], (0, 2)),
        (LABEL, (7,), (7,)),
    ],
)
def test_a_fit_value_is_taken(option: Option, given: object, value: object) -> None:
    taken = option.check(given)
    assert taken == value
    assert type(taken) is type(value)


@pytest.mark.parametrize(
    ("option", "given"),
    [
        (STEPS, 0),
        (STEPS, 1001),
        (STEPS, 2.0),
        (STEPS, True),
        (STEPS, "3"),
        (STEPS, [1, 2]),
        (SCALE, -0.1),
        (SCALE, math.nan),
        (SCALE, math.inf),
        (SCALE, 10**400),
        (SAMPLER, "DDIM"),
        (SAMPLER, 1),
        (CLIP, 1),
        (CLIP, "true"),
        (LABEL, [0, 10]),
        (LABEL, []),
        (NAME, 3),
    ],
)
def test_an_unfit_value_is_refused_with_what_fits(option: Option, given: object) -> None:
    with pytest.raises(OptionError) as caught:
        option.check(given)
    assert caught.value.message.startswith(f"{option.flag} does not accept ")
    assert caught.value.remedy == f"Give {option.expects}."


@pytest.mark.parametrize(
    ("option", "text", "value"),
    [
        (STEPS, "50", 50),
        (SCALE, "7.5", 7.5),
        (SCALE, "1e1", 10.0),
        (CLIP, "True", True),
        (CLIP, "false", False),
        (SAMPLER, "ddpm", "ddpm"),
        (LABEL, "7", 7),
        (LABEL, "0,2,5-7", (0, 2, 5, 6, 7)),
        (LABEL, "3-3", (3,)),
        (Option("shift", "number", per_sample=True), "-1,0.5", (-1.0, 0.5)),
    ],
)
def test_a_value_is_read_from_the_command_line(option: Option, text: str, value: object) -> None:
    assert option.parse(text) == value


@pytest.mark.parametrize(
    ("option", "text"),
    [
        (STEPS, "many"),
        (STEPS, "1,2"),
        (STEPS, ""),
        (SCALE, "nan"),
        (CLIP, "yes"),
        (LABEL, "0,,2"),
        (LABEL, "0,10"),
        (LABEL, "7-5"),
        (LABEL, "0,7-5"),
        (LABEL, "0-99999999999"),
    ],
)
def test_text_that_is_no_such_value_is_refused(option: Option, text: str) -> None:
    with pytest.raises(OptionError) as caught:
        option.parse(text)
    assert caught.value.remedy == f"Give {option.expects}."


def test_what_models_share_is_said_once_and_may_be_overridden():
    document = {
        "schema": 1,
        "plugin": {"name": "p", "summary": "s"},
        "shared": {"family": "gan", "output": "image", "license": "mit", "paper": "arXiv:1"},
        "model": [
            {"id": "a", "summary": "A", "weights": {"embedded": "w"}},
            {"id": "b", "summary": "B", "weights": {"embedded": "w"}, "license": "cc0-1.0"},
        ],
    }
    a, b = read_manifest(document, "zoo.toml", None).models
    assert (a.family, a.license, a.paper) == ("gan", "mit", "arXiv:1")
    assert (b.family, b.license) == ("gan", "cc0-1.0")

    document["shared"]["summary"] = "not to be shared"
    with pytest.raises(CardError, match=r"zoo.toml: \[shared\] summary: expected no such key"):
        read_manifest(document, "zoo.toml", None)


def test_a_rule_may_name_the_weights_of_further_networks() -> None:
    (rule,) = read(PLUGIN + RULE + 'more_weights = ["vae/model"]\n').checkpoints
    assert rule.more_weights == ("vae/model",)
