SELECT crystal.plates.plate_id, crystal.plates.barcode, crystal.plates.project_id, crystal.plate_drops.fk_plate_id, crystal.plate_drops.fk_sample_id, crystal.samples.sample_id, crystal.samples.sample_name, crystal.projects.project_id AS project_id_1, crystal.projects.name
FROM crystal.plates JOIN crystal.plate_drops ON 0 = 1 JOIN crystal.samples ON 0 = 1 JOIN crystal.projects ON 0 = 1
WHERE 0 = 1;

