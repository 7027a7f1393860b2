"""What is deleted, when and why: raw data, results, records, by age and by total size."""
