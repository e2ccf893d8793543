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
            "g-blend",
            "g_blend:GBlend",
            "Wang et al., CVPR 2020",
            "Weighs the losses of all heads by how well each generalises when trained alone.",
        ),
        Entry(
            "g-blend-offline",
            "g_blend:GBlend",
            "Wang et al., CVPR 2020",
            "Weighs the losses of all heads as `g-blend`, by one estimate before the first epoch.",
            settings={"online": False},
        ),
        Entry(
            "reconboost",
            "reconboost:ReconBoost",
            "Hua et al., ICML 2024",
            "Trains each modality on what the others leave open, then all together, in turn.",
        ),
        Entry(
            "reconboost-released",
            "reconboost:ReconBoost",
            "Hua et al., ICML 2024",
            "`reconboost` without agreement between stages, which has no gradient in its code.",
            settings={"assistance": 0.0},
        ),
        Entry(
            "mslr",
            "mslr:MSLR",
            "Yao & Mihalcea, Findings of ACL 2022",
            "Gives each modality a learning rate of its own, which follows its accuracy on val.",
        ),
        Entry(
            "mses",
            "mses:MSES",
            "Fujimori et al., ACPR 2020",
            "Stops each modality where its own loss on val has ceased to fall.",
        ),
        Entry(
            "greedy",
            "greedy:Greedy",
            "Wu et al., ICML 2022",
            "Cuts a modality off from the others whose gates in `mmtm` learn too fast.",
        ),
        Entry(
            "moddrop",
            "moddrop:ModDrop",
            "Neverova et al., TPAMI 2016",
            "Drops features of every modality with a fixed probability.",
        ),
        Entry(
            "umt",
            "umt:UMT",
            "Du et al., ICML 2023",
            "Joint training that pulls features to those of teachers with one modality each.",
        ),
        Entry(
            "ume",
            "ume:UME",
            "Du et al., ICML 2023",
            "Modalities trained apart, whose predictions are averaged.",
        ),
        Entry(
            "g2d",
            "g2d:G2D",
            "Rakib & Bagavathi, ICCV 2025",
            "Learns from teachers with one modality each, the encoder of the weakest first.",
        ),
        Entry(
            "di-mml",
            "di_mml:DIMML",
            "Fan et al., ACM MM 2024",
            "Modalities trained apart, which teach each other dimensions; then a fusion of them.",
        ),
        Entry(
            "domfn",
            "domfn:DOMFN",
            "Yang et al., ACM MM 2022",
            "Fuses samples on which the modalities agree; elsewhere the surest decides.",
        ),
        Entry(
            "mlb",
            "mlb:MLB",
            "Kontras et al., BMVC 2024",
            "A loss for each modality, and gradients scaled by how sure the others are against it.",
        ),
        Entry(
            "pmr",
            "pmr:PMR",
            "Fan et al., CVPR 2023",
            "Draws the modality that is behind to prototypes of the classes, by how far it is.",
        ),
        Entry(
            "pmr-hard",
            "pmr:PMR",
            "Fan et al., CVPR 2023",
            "Draws the modality that is behind to prototypes of the classes.",
            settings={"switch": "hard", "entropy": 0.0},
        ),
        Entry(
            "mmpareto",
            "mmpareto:MMPareto",
            "Wei & Hu, ICML 2024",
            "Mixes each encoder's gradients of the fused and its own loss: neither loss suffers.",
        ),
        Entry(
            "agm",
            "agm:AGM",
            "Li et al., ICCV 2023",
            "Scales the gradient of each modality's Shapley share of the logits.",
        ),
        Entry(
            "smv",
            "base:Method",
            "Wei et al., CVPR 2024",
            "`joint` on samples that come again with the modality alone that adds too little.",
            curriculum="smv",
        ),
    ),
)
