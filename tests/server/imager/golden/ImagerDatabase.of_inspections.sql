SELECT crystal.i_inspections.inspectid, crystal.i_inspections.barcodeid, crystal.i_inspections.inspectnumber, crystal.i_inspections.inspectdate, crystal.i_inspections.i_row, crystal.i_inspections.col, crystal.i_inspections.subwell, crystal.i_images.imagename
FROM crystal.i_inspections JOIN crystal.i_images ON crystal.i_inspections.inspectid = crystal.i_images.inspectid
WHERE ((rtrim(crystal.i_images.imagename) LIKE :rtrim_1 ESCAPE '\' OR rtrim(crystal.i_images.imagename) LIKE :rtrim_2 ESCAPE '\') AND rtrim(crystal.i_images.imagename) NOT LIKE :rtrim_3 ESCAPE '\' OR crystal.i_images.imagename IS NULL) AND crystal.i_inspections.inspectid IN (:inspectid_1_1, :inspectid_1_2) ORDER BY crystal.i_inspections.inspectid, crystal.i_images.imagename;

