"""Which layout fits a model on given devices, how fast it would be, and how it looks. No torch here.

>>> setting = setting_of(subject_of("models/llama3-8b"), cluster("H100", 8))
>>> search(setting).fitting[0].layout.words()
'dp_shard=8,rows=1,microbatches=8'
"""

from workbench.scaling.layouts.advice import devices_needed, explain, nearest_words, too_large_words
from workbench.scaling.layouts.cluster import INTERCONNECTS, Cluster, Device, cluster
from workbench.scaling.layouts.drawing import draw_devices, draw_schedule
from workbench.scaling.layouts.feasible import completed, parse, problems
from workbench.scaling.layouts.layout import Layout
from workbench.scaling.layouts.model import Model
from workbench.scaling.layouts.plan import Plan, Setting, plan
from workbench.scaling.layouts.search import Found, nearest, search
from workbench.scaling.layouts.stack import STACKS
from workbench.scaling.layouts.subject import Subject, setting_of, subject_of
from workbench.scaling.layouts.writing import overrides, recipe_with

__all__ = [
    "INTERCONNECTS",
    "STACKS",
    "Cluster",
    "Device",
    "Found",
    "Layout",
    "Model",
    "Plan",
    "Setting",
    "Subject",
    "cluster",
    "completed",
    "devices_needed",
    "draw_devices",
    "draw_schedule",
    "explain",
    "nearest",
    "nearest_words",
    "overrides",
    "parse",
    "plan",
    "problems",
    "recipe_with",
    "search",
    "setting_of",
    "subject_of",
    "too_large_words",
]
