"""The tables and figures of the paper: what each needs, and how results become it.

Every table and figure is a TOML file of this folder (:class:`gfnode.paper.specs.Spec`). A plan
(:mod:`gfnode.paper.plan`) turns it into jobs of a sweep; the rest reads run folders and needs no
torch.
"""
