"""Pretrained models: the only room that knows transformers and peft.

`loading.load` gives a `Backbone`; `Backbone.features` and `Backbone.states` read it; `Backbone.segment` gives some of
its layers as a module that can be trained; `adapters` adds low-rank updates; `precision.choose` decides between bf16
and fp32; `saving` writes what plain transformers loads.
"""
