"""A small model of each file of timm is built, parted by depth, unfrozen from the top, and answers by new weights."""

from pathlib import Path
from typing import Any

import pytest
import torch
from timm.models import _registry as registry
from torch import nn

from meltpoint.model.backbones import FINAL, build_backbone
from meltpoint.model.model import Model
from meltpoint.params.model import Backbone as BackboneParams
from meltpoint.params.model import RandomWeights
from meltpoint.params.read import read_params
from meltpoint.params.strategies import FinetuneStrategy
from meltpoint.train.probe import use_threads
from meltpoint.train.strategies.finetune import unfreeze

ROOT = Path(__file__).parents[2]
NAMES = [
    "beit_base_patch16_224", "cait_xxs24_224", "coat_tiny", "convit_tiny", "convmixer_768_32", "cpubone_nano",
    "crossvit_tiny_240", "cs3darknet_focus_s", "csatv2", "cspnext_tiny", "davit_tiny", "deepseek_vit_412m",
    "deit_tiny_patch16_224", "densenet121", "dla46x_c", "dpn48b", "edgenext_xx_small", "efficientformer_l1",
    "efficientformerv2_s0", "efficientvim_m1", "efficientvit_b0", "efficientvit_m0", "ese_vovnet19b_slim_dw",
    "eva02_tiny_patch14_224", "fasternet_t0", "fastvit_t8", "focalnet_tiny_srf", "gcvit_xxtiny", "gemma4_vit_167m",
    "ghostnet_050", "gmlp_ti16_224", "halonet_h1", "hardcorenas_b", "hgnetv2_b0", "hiera_tiny_224",
    "hieradet_small", "hrnet_w18_small", "iformer_t", "inception_next_atto", "inception_resnet_v2", "inception_v3",
    "inception_v4", "lcnet_035", "lcnetv2_small", "legacy_seresnet18", "legacy_xception", "levit_128s",
    "lowformer_b0", "mobilenetv5_base", "mobilevit_xxs", "mvitv2_tiny", "naflexvit_base_patch16_parfac_gap",
    "nasnetalarge", "nest_tiny", "nextvit_small", "pit_ti_224", "pnasnet5large", "poolformer_s12", "pvt_v2_b0",
    "qwen3_vit_88m", "rdnet_tiny", "regnetx_002", "repghostnet_050", "repvit_m1", "res2next50", "resnest14d",
    "resnetv2_18", "rexnet_100", "samvit_base_patch16_224", "selecsls42", "sequencer2d_s", "shvit_s1", "skresnet18",
    "starnet_s050", "swiftformer_xs", "swin_tiny_patch4_window7_224", "swinv2_cr_tiny_224",
    "swinv2_tiny_window8_256", "test_byobnet", "test_coatnet", "test_convnext", "test_efficientnet",
    "test_mambaout", "test_nfnet", "test_resnet", "test_vit", "test_vit_relpos", "tiny_vit_5m_224",
    "tnt_s_legacy_patch16_224", "tresnet_m", "twins_svt_small", "vgg11", "visformer_tiny", "vit_tiny_r_s16_p8_224",
    "vitamin_small_224", "volo_d1_224", "xception41p", "xcit_nano_12_p8_224",
]  # fmt: skip
SIZES = {  # of those that cannot take 64 pixels
    "crossvit_tiny_240": 240, "deepseek_vit_412m": 56, "efficientformer_l1": 224, "eva02_tiny_patch14_224": 56,
    "halonet_h1": 256, "inception_resnet_v2": 76, "inception_v3": 76, "inception_v4": 76,
}  # fmt: skip
FEW = {"depth": 4}
ARGS: dict[str, dict[str, Any]] = {  # large ones without most of their equal blocks
    "beit_base_patch16_224": FEW, "deepseek_vit_412m": FEW, "gemma4_vit_167m": FEW,
    "naflexvit_base_patch16_parfac_gap": FEW, "qwen3_vit_88m": FEW,
    "samvit_base_patch16_224": {**FEW, "global_attn_indexes": (1, 3)}, "vgg11": {"mlp_ratio": 0.125},
}  # fmt: skip


def test_every_file_of_timm_has_a_model_here() -> None:
    assert {registry._model_to_module[name] for name in NAMES} == set(registry._module_to_models)


@pytest.fixture(scope="module")
def strategy() -> FinetuneStrategy:
    found = read_params(ROOT / "presets" / "elpv.yaml").strategies["finetune"]
    assert isinstance(found, FinetuneStrategy)
    return found.model_copy(update={"unfreeze": 2})


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_it_is_built_parted_and_unfrozen(name: str, strategy: FinetuneStrategy) -> None:
    params = BackboneParams(
        name=name, args=ARGS.get(name, {}), weights=RandomWeights(kind="random"), mean=None, std=None
    )
    size = SIZES.get(name, 64)
    with use_threads(1):
        backbone = build_backbone(params, {FINAL}, size)
        head = nn.Linear(backbone.specs[FINAL].channels, 3)
        model = Model(backbone, nn.ModuleDict({"head": head}), {"head": FINAL}).eval()
        scales = unfreeze(model, strategy)
        learning = {key: value for key, value in model.named_parameters() if value.requires_grad}
        assert set(learning) == set(scales)
        assert 2 < len(learning) < len(list(model.parameters()))

        images = torch.randint(0, 256, (2, size, size, 3), dtype=torch.uint8)
        loss = model.train()(images)["head"].square().mean()
        gradients = torch.autograd.grad(loss, list(learning.values()), allow_unused=True)
        assert all(gradient.isfinite().all() for gradient in gradients if gradient is not None)

        with torch.no_grad():
            model.eval()(images)
            for value in model.backbone.parameters():
                value.add_(0.01 * torch.randn_like(value))
            answers = model(images)["head"]
            assert torch.equal(answers, model.train().eval()(images)["head"]), "it answers by weights of before"
