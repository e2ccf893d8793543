"""Lines of the methods."""

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mmtrain.methods.base import Method
from mmtrain.catalog import Catalog, Entry

METHODS: Final["Catalog[Method]"] = Catalog(
    "method",
    "methods",
    "mmtrain.methods",
    "base:Method",
    (
        Entry("joint", "base:Method", "-", "One cross-entropy on the fused logits."),
        Entry(
            "multitask",
            "multitask:Multitask",
            "Wei & Hu, ICML 2024",
            "A cross-entropy on the fused logits and one on each modality's own head.",
        ),
        Entry(
            "ogm",
            "ogm:OGM",
            "Wei et al., TPAMI 2024",
            "Slows the encoder of a modality that is ahead.",
        ),
        Entry(
            "ogm-ge",
            "ogm:OGM",
            "Wei et al., TPAMI 2024",
            "Slows the encoder of a modality that is ahead, and adds noise to all gradients.",
            settings={"noise": "tensor-std"},
        ),
        Entry(
            "ogm-star",
            "ogm:OGMStar",
            "Wei et al., TPAMI 2024",
            "Speeds up the encoder of a modality that is behind.",
        ),
        Entry(
            "opm",
            "opm:OPM",
            "Wei et al., TPAMI 2024",
            "Drops features of a modality that is ahead, sample by sample.",
        ),
        Entry(
            "opm+ogm",
            "opm:OPMOGM",
            "Wei et al., TPAMI 2024",
            "Drops features of a modality that is ahead, and slows its encoder.",
        ),
        Entry(
            "amss",
            "amss:AMSS",
            "Yang et al., TPAMI 2025",
            "Updates of each layer only units drawn by importance, fewer where a modality is "
            "ahead.",
        ),
        Entry(
            "amss+",
            "amss:AMSSPlus",
            "Yang et al., TPAMI 2025",
            "AMSS whose masked gradient is right on average.",
        ),
        Entry(
            "aug",
            "aug:AUG",
            "Jiang et al., NeurIPS 2025",
            "Boosts the modality that is behind: its classifiers grow in number while it trains.",
        ),
        Entry(
            "lfm-h",
            "lfm:Heuristic",
            "Yang et al., NeurIPS 2024",
            "Aligns the modalities first and fits labels later, by a formula of the epoch.",
        ),
        Entry(
            "lfm-lb",
            "lfm:Learned",
            "Yang et al., NeurIPS 2024",
            "Mixes alignment and label fitting by a weight that is learned on held-out samples.",
        ),
        Entry(
            "igm",
            "igm:IGM",
            "Jiang et al., IJCAI 2025",
            "Trains the modalities in turn, along directions flat for the one before, with SAM.",
        ),
        Entry(
            "igm-nosam",
            "igm:IGM",
            "Jiang et al., IJCAI 2025",
            "Trains the modalities in turn, along directions flat for the one before.",
            settings={"radius": 0.0},
        ),
        Entry(
            "iprm",
            "iprm:IPRM",
            "Yang et al., IJCAI 2025",
            "Fuses on the arc between modalities, at a point probed in the same step.",
        ),
        Entry(
            "mla",
            "mla:MLA",
            "Zhang et al., CVPR 2024",
            "Trains the modalities in turn in each step through one classifier, with projected "
            "gradients.",
        ),
        Entry(
            "mla-released",
            "mla:MLA",
            "Zhang et al., CVPR 2024",
            "MLA as its authors' code runs: without projection, weighed by batches.",
            settings={"projection": "off", "inference": "batch"},
        ),
        Entry(
            "relearning",
            "relearning:Relearning",
            "Wei et al., ECCV 2024",
            "Draws encoders back to their initial weights, by how much worse they do on val.",
        ),
        Entry(
            "inforeg",
            "inforeg:InfoReg",
            "Huang et al., CVPR 2025",
            "Draws the encoder that is ahead back to where the epoch began, early in training.",
        ),
        Entry(
            "arl",
            "arl:ARL",
            "Wei et al., ICCV 2025",
            "Enlarges the gradients of encoders that count for less than their certainty deserves.",
        ),
        Entry(
            "mmcosine",
            "mmcosine:MMCosine",
            "Xu et al., ICASSP 2023",
            "Classifies by cosines, so that no modality leads by the size of its features.",
        ),
        Entry(
            "dropout",
            "dropout:Dropout",
            "Srivastava et al., JMLR 2014",
            "Drops single features before the fusion, at one rate.",
        ),
        Entry(
            "dropout-annealed",
            "dropout:Dropout",
            "Rennie et al., SLT 2014",
            "Drops single features before the fusion, at a rate that falls to 0.",
            settings={"kind": "annealed"},
        ),
        Entry(
            "dropout-curriculum",
            "dropout:Dropout",
            "Morerio et al., ICCV 2017",
            "Drops single features before the fusion, at a rate that grows from 0.",
            settings={"kind": "curriculum"},
        ),
        Entry(
            "dropout-evolutional",
            "dropout:Dropout",
            "Li et al., NeurIPS 2016",
            "Draws the features that are used, in proportion to their size in the batch.",
            settings={"kind": "evolutional"},
        ),
        Entry(
            "cml",
            "cml:CML",
            "Ma et al., ICML 2023",
            "Penalises predictions that are surer without a modality than with it.",
        ),
        Entry(
            "tmc",
            "tmc:TMC",
            "Han et al., ICLR 2021",
            "Combines the modalities' opinions by the evidence that each has.",
        ),
        Entry(
            "etmc",
            "tmc:TMC",
            "Han et al., TPAMI 2022",
            "TMC with one more opinion, from all features side by side.",
            settings={"joint_view": True},
        ),
        Entry(
            "dgl",
            "dgl:DGL",
            "Wei et al., ICCV 2025",
            "Trains encoders by their own modality's loss, and the fusion by the fused loss.",
        ),
        Entry(
            "cggm",
            "cggm:CGGM",
            "Guo et al., NeurIPS 2024",
            "Scales encoders' gradients by how much the others' classifiers have got better.",
        ),
        Entry(
            "olm",
            "olm:OLM",
            "Zong et al., IJCAI 2024",
            "Multiplies each head's logits by a number that is learned beside the network.",
        ),
        Entry(
            "bss-h",
            "multitask:Multitask",
            "Guan et al., IJCAI 2025",
            "`multitask` on the most balanced share of the data, which grows.",
            curriculum="bss-h",
        ),
        Entry(
            "bss-l",
            "multitask:Multitask",
            "Guan et al., IJCAI 2025",
            "`multitask` on an order in which balanced samples come early.",
            curriculum="bss-l",
        ),
        Entry(
            "sam",
            "sam:SAM",
            "Foret et al., ICLR 2021",
            "Joint training by the gradient at the worst point near the weights.",
        ),
        Entry(
            "moddrop",
            "moddrop:ModDrop",
            "Neverova et al., TPAMI 2016",
            "Drops features of every modality with a fixed probability.",
        ),
    ),
)
