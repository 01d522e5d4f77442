"""Answers in the formats of others: tables, lines, columns, coverages, data sets."""
