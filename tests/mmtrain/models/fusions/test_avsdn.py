"""AVSDN: the decoder starts from the states of all, and reads second by second."""

import pytest
import torch
from torch import nn

from mmtrain.errors import ConfigError
from mmtrain.models.fusions.avsdn import AVSDN
from mmtrain.models.layers import seeded
from tests.mmtrain.models.fusions.test_fusions import THREE, TWO, features, fill, rounded


def test_two_segments_by_hand():
    # Gates at rest are .5; candidates are tanh of the input. Readers of one entry:
    # audio 1, 0: c = .5 tanh(1) = .380797, then .190399; h = .5 tanh(c) = .0940766.
    # visual 0, 2: c = 0, then .5 tanh(2) = .482014; h = .5 tanh(c) = .2239695.
    # Decoder, whose candidate is tanh(x) + 0: c = .5 c + .5 tanh(x): audio .095199 + .380797 =
    # .475997, visual .241007; h = .5 tanh(c): .221527, .118222. Then audio .237998, visual
    # .120503 + .482014 = .602517: .116803, .269424. The head sums both.
    fusion = AVSDN(dict.fromkeys(TWO, 1), 2, segments=2, state=1)
    for lstm in (*fusion.readers.values(), fusion.decoder):
        for parameter in lstm.parameters():
            nn.init.zeros_(parameter)
    with torch.no_grad():
        for lstm in fusion.readers.values():
            lstm.weight_ih_l0[2] = 1
        fusion.decoder.weight_ih_l0[4:6] = torch.eye(2)
    fill(fusion.head, [[1.0, 1.0]], [0.0])
    given = {"audio": torch.tensor([[1.0, 0.0]]), "visual": torch.tensor([[0.0, 2.0]])}

    assert rounded(fusion(given)) == pytest.approx([0.33975, 0.38623], abs=2e-5)


@pytest.mark.parametrize("modalities", [TWO, THREE], ids=["two", "three"])
def test_the_first_segment_knows_the_last_second_through_the_encoders(modalities):
    with seeded(0):
        fusion = AVSDN(dict.fromkeys(modalities, 6), 12, segments=3, state=4)
    given = features(modalities, fusion.feature_widths)
    later = {**given, "audio": given["audio"].detach().clone()}
    later["audio"][:, -6:] += 1

    assert fusion.decoder.hidden_size == 4 * len(modalities)
    change = (fusion(later) - fusion(given)).view(5, 3, 4).abs().sum((0, 2))
    assert (change > 0).all()


def test_segments_divide_the_logits_and_one_modality_is_too_few():
    with pytest.raises(ConfigError, match=r"avsdn labels .* 7 logits are not those of 10 segments"):
        AVSDN(dict.fromkeys(TWO, 6), 7)
    with pytest.raises(ConfigError, match="avsdn needs two modalities or more; got audio"):
        AVSDN({"audio": 6}, 10)
