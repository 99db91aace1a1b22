"""Prove a rule of your own: `ravine.testing.check(MyRule)` runs the laws that every rule here keeps."""

from ravine.testing.check import check as check
from ravine.testing.report import Report as Report
