"""What a full analysis found, week after week: points, findings and normal bands, and what its steps hand on."""
