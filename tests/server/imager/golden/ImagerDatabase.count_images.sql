SELECT count(*) AS count_1
FROM crystal.i_inspections JOIN crystal.i_images ON crystal.i_inspections.inspectid = crystal.i_images.inspectid
WHERE (rtrim(crystal.i_images.imagename) LIKE :rtrim_1 ESCAPE '\' OR rtrim(crystal.i_images.imagename) LIKE :rtrim_2 ESCAPE '\') AND rtrim(crystal.i_images.imagename) NOT LIKE :rtrim_3 ESCAPE '\' AND crystal.i_inspections.inspectdate <= :inspectdate_1 AND (crystal.i_inspections.inspectdate < :inspectdate_2 OR crystal.i_inspections.inspectdate = :inspectdate_3 AND crystal.i_inspections.inspectid < :inspectid_1);

