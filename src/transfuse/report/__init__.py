"""The report of a study: one page for people, a short form for the terminal, and the findings in sentences."""

from transfuse.report.html import page_of, write_html
from transfuse.report.sentences import about_curve, explain
from transfuse.report.terminal import print_summary

__all__ = ["about_curve", "explain", "page_of", "print_summary", "write_html"]
